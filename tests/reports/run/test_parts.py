"""Thumbnails, curves and queries by themselves."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.reports.run.curves import POINTS, read_phases, running_mean
from vicc_ray.reports.run.gallery import choose_queries
from vicc_ray.reports.run.thumbnails import FRAMES, MAX_STRIP_BYTES, SIDE, Thumbnails, strip_uri, thumbnail_frames


def decoded(uri: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(("frames", "fps"), [(1, 25), (2, 25), (10, 25), (300, 25), (300, 60), (30, 8), (16, 10)])
def test_thumbnails_are_taken_inside_the_video_and_play_in_real_time(frames: int, fps: float) -> None:
    indices = thumbnail_frames(frames, fps)
    assert len(indices) == FRAMES and indices.min() >= 0 and indices.max() < frames
    assert (np.diff(indices) >= 0).all()
    if frames >= 1.6 * fps:
        assert indices[-1] - indices[0] == pytest.approx(1.5 * fps, abs=1)
        assert indices[0] == pytest.approx(frames - 1 - indices[-1], abs=1)


def test_strip_has_center_cropped_frames_in_order() -> None:
    frames = np.zeros((FRAMES, 60, 100, 3), dtype=np.uint8)
    frames[:, :, 20:80] = np.linspace(20, 240, FRAMES, dtype=np.uint8)[:, None, None, None]
    strip = decoded(strip_uri(frames))
    assert strip.shape == (SIDE, SIDE * FRAMES, 3)
    for n, level in enumerate(np.linspace(20, 240, FRAMES)):
        assert np.abs(strip[:, n * SIDE + 4 : (n + 1) * SIDE - 4].astype(int) - level).max() < 12


def test_strips_of_noise_stay_small() -> None:
    noise = np.random.default_rng(0).integers(256, size=(FRAMES, 120, 120, 3), dtype=np.uint8)
    assert len(strip_uri(noise)) < 3 * MAX_STRIP_BYTES


def test_repeated_videos_are_embedded_once(store: ClipStore) -> None:
    thumbnails = Thumbnails(store)
    first, second = store.entries[0].id, store.entries[1].id
    names = [
        thumbnails.rgb(first),
        thumbnails.rgb(second),
        thumbnails.flow(first),
        thumbnails.rgb(first),
        thumbnails.flow(first),
    ]
    assert names == ["f0", "f1", "f2", "f0", "f2"]
    assert thumbnails.css().count("data:image/webp") == 3
    assert thumbnails.rgb("not in the store") is None
    assert thumbnails.speed(first) >= 1


def test_running_mean_keeps_constants_and_leaves_out_gaps() -> None:
    values = np.full(30, 2.5)
    values[7] = np.nan
    assert np.allclose(running_mean(values, 5), 2.5)
    assert np.isnan(running_mean(np.full(3, np.nan), 2)).all()
    rng = np.random.default_rng(0).normal(size=500)
    assert running_mean(rng, 50).std() < 0.3 * rng.std()


def test_long_curves_are_downsampled(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step in range(5000):
            record = {"step": step, "phase": "rgb-stage1", "loss": 5000 - step, "data_ms": 1, "compute_ms": 3}
            file.write(json.dumps(record) + "\n")
    (phase,) = read_phases(tmp_path / "metrics.jsonl", batch=8)
    steps = phase["curves"]["step"]
    assert len(steps) == POINTS and (steps[0], steps[-1]) == (0, 4999)
    assert phase["curves"]["loss"] == [5000 - step for step in steps]
    assert phase["end"]["loss"] == pytest.approx(250.5)
    assert phase["timing"]["samples_per_s"] == pytest.approx(2000)


def test_queries_are_drawn_from_all_classes_in_turn() -> None:
    labels = np.array(["a"] * 50 + ["b"] * 3 + ["c"] * 2)
    chosen = choose_queries(labels, seed=0)
    assert sorted(labels[chosen].tolist()) == ["a"] * 3 + ["b"] * 3 + ["c"] * 2
    assert np.array_equal(chosen, choose_queries(labels, seed=0))
    assert not np.array_equal(chosen, choose_queries(labels, seed=1))
    assert len(choose_queries(labels[:2], seed=0)) == 2
