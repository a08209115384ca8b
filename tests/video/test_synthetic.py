"""Synthetic videos: real files, classes that differ in motion alone."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from vicc_ray.errors import UserError
from vicc_ray.evaluation.retrieval import FeatureSet, retrieve
from vicc_ray.video.decode import decode_video
from vicc_ray.video.motions import MOTIONS, draw_path
from vicc_ray.video.synthetic import Scene, make_videos, render

QUICK = Scene(side=48, frames=6)


def test_files_are_h264_and_the_table_names_them_all(tmp_path: Path) -> None:
    table = make_videos(tmp_path, classes=3, train=2, test=1, seed=5, scene=QUICK)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 9
    assert {(row["label"], row["split"]) for row in rows} == {
        (n, s) for n in list(MOTIONS)[:3] for s in ("train", "test")
    }
    assert len({row["source"] for row in rows}) == 9
    for row in rows:
        video = decode_video(tmp_path / row["path"], short_side=48, max_frames=100, time_limit_s=60)
        assert video.frames.shape == (6, 48, 48, 3)


def test_the_same_seed_makes_the_same_videos_and_a_stopped_call_goes_on(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        make_videos(tmp_path / folder, classes=2, train=1, test=1, seed=1, scene=QUICK)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.mp4"))
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    (tmp_path / "a" / files[0]).unlink()
    kept = (tmp_path / "a" / files[1]).stat().st_mtime_ns
    make_videos(tmp_path / "a", classes=2, train=1, test=1, seed=1, scene=QUICK)
    assert (tmp_path / "a" / files[0]).read_bytes() == (tmp_path / "b" / files[0]).read_bytes()
    assert (tmp_path / "a" / files[1]).stat().st_mtime_ns == kept


@pytest.mark.parametrize("classes", [1, len(MOTIONS) + 1])
def test_impossible_counts_are_refused(tmp_path: Path, classes: int) -> None:
    with pytest.raises(UserError, match=f"{classes} given, allowed are 2 to {len(MOTIONS)}"):
        make_videos(tmp_path, classes=classes)


@pytest.mark.parametrize("motion", list(MOTIONS))
def test_poses_of_one_moment_do_not_depend_on_the_motion(motion: str) -> None:
    """Position on the wrapped frame is uniform and radius log-uniform at any time, as for an object at rest."""
    rng = np.random.default_rng(0)
    t = np.array([0.0, 17.0])
    poses = np.array([MOTIONS[motion](draw_path(rng), t) for _ in range(3000)])
    for moment in range(2):
        x, y, _, radius = poses[:, :, moment].T
        for uniform in (
            np.mod(x, 1),
            np.mod(y, 1),
            np.log(radius / radius.min()) / np.log(radius.max() / radius.min()),
        ):
            counts, _ = np.histogram(uniform, bins=5, range=(0, 1))
            assert abs(counts / 3000 - 0.2).max() < 0.04


def test_single_frames_do_not_tell_the_class() -> None:
    """Nearest neighbour on a frame is at chance within its interval; on the motion between frames it is not."""
    frames, motions, labels = [], [], []
    classes = list(MOTIONS)[:8]
    for label in classes:
        for n in range(24):
            rng = np.random.default_rng([7, classes.index(label), n])
            video = render(label, rng, Scene(side=32, frames=8, shake=0.0, distractors=0)).astype(np.float32)
            frames.append(video[4].ravel())
            motions.append(_motion_energy(video))
            labels.append(label)
    on_frames = _recall(np.stack(frames), labels)
    low, high = on_frames.interval
    assert low <= on_frames.chance <= high
    assert _recall(np.stack(motions), labels).interval[0] > 2 * on_frames.chance


def _motion_energy(video: np.ndarray) -> np.ndarray:
    """How well small shifts explain the next frame: a crude motion histogram [9] that no single frame has."""
    grey = video.mean(axis=-1)
    errors = [
        np.abs(grey[1:] - np.roll(grey[:-1], (dy, dx), axis=(1, 2))).mean() for dy in (-1, 0, 1) for dx in (-1, 0, 1)
    ]
    return np.array(errors) / np.mean(errors)


def _recall(features: np.ndarray, labels: list[str]):
    every = np.arange(len(labels))
    ids = np.array([str(i) for i in every])
    table = FeatureSet(features, np.array(labels), ids, ids)
    return retrieve(table.select(every % 3 > 0), table.select(every % 3 == 0))
