"""Synthetic videos: valid files, and classes that differ only in motion."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vicc_ray.datasets import list_videos
from vicc_ray.errors import UserError
from vicc_ray.evaluation.retrieval import FeatureSet, retrieve
from vicc_ray.video.decode import decode_video
from vicc_ray.video.flow import compute_flow
from vicc_ray.video.synthetic.generate import Scene, make_videos, render
from vicc_ray.video.synthetic.motions import MOTIONS, draw_trajectory

QUICK = Scene(side=48, frames=6)


@pytest.mark.slow
def test_files_are_h264_and_labels_csv_lists_them(tmp_path: Path) -> None:
    table = make_videos(tmp_path, classes=3, train=2, test=1, seed=5, scene=QUICK)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 9
    assert {(row["label"], row["split"]) for row in rows} == {
        (n, s) for n in list(MOTIONS)[:3] for s in ("train", "test")
    }
    assert len({row["source"] for row in rows}) == 9
    for row in rows:
        video = decode_video(tmp_path / row["path"], short_side=48, max_frames=100, timeout_s=60)
        assert video.frames.shape == (6, 48, 48, 3)


@pytest.mark.slow
def test_equal_seeds_make_equal_videos_and_an_interrupted_call_resumes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        make_videos(tmp_path / folder, classes=2, train=1, test=1, seed=1, scene=QUICK)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.mp4"))
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    (tmp_path / "a" / files[0]).unlink()
    kept = (tmp_path / "a" / files[1]).stat().st_mtime_ns
    make_videos(tmp_path / "a", classes=2, train=1, test=1, seed=1, scene=QUICK)
    assert (tmp_path / "a" / files[0]).read_bytes() == (tmp_path / "b" / files[0]).read_bytes()
    assert (tmp_path / "a" / files[1]).stat().st_mtime_ns == kept


MADE = {"classes": 3, "train": 2, "test": 1, "seed": 1, "scene": QUICK}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 2}, ("seed", "2", "1")),
        ({"scene": Scene(side=48, frames=8)}, ("frames", "8", "6")),
        ({"classes": 2}, ("3 more videos", f"{list(MOTIONS)[2]}/test_0000.mp4")),
        ({"train": 1}, ("3 more videos", "train_0001.mp4")),
        ({"test": 0}, ("3 more videos", "test_0000.mp4")),
    ],
)
def test_a_folder_of_other_videos_is_refused(tmp_path: Path, other: dict[str, Any], named: tuple[str, ...]) -> None:
    make_videos(tmp_path, **MADE)
    previous = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as error:
        make_videos(tmp_path, **{**MADE, **other})
    assert all(fact in str(error.value) for fact in (*named, str(tmp_path)))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == previous


@pytest.mark.parametrize("name", ["labels.csv", f"{next(iter(MOTIONS))}/train_0000.mp4"])
def test_files_of_unknown_origin_are_neither_used_nor_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=re.escape(name)):
        make_videos(tmp_path, **MADE)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


@pytest.mark.slow
def test_more_videos_of_the_seed_are_added_and_the_record_is_not_an_input(tmp_path: Path) -> None:
    make_videos(tmp_path, **MADE)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    make_videos(tmp_path, **{**MADE, "classes": 4, "train": 3})
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list_videos(tmp_path).items) == 16
    (tmp_path / "labels.csv").unlink()
    assert (len(list_videos(tmp_path).items), list_videos(tmp_path).notes) == (16, ())


@pytest.mark.parametrize("classes", [1, len(MOTIONS) + 1])
def test_counts_out_of_range_are_refused(tmp_path: Path, classes: int) -> None:
    with pytest.raises(UserError, match=rf"--classes: {classes} .*2 to {len(MOTIONS)}"):
        make_videos(tmp_path, classes=classes)


@pytest.mark.parametrize("motion", list(MOTIONS))
def test_the_pose_at_one_moment_is_independent_of_the_motion(motion: str) -> None:
    """Position on the wrapped frame is uniform and radius log-uniform at any time, as for a static object."""
    rng = np.random.default_rng(0)
    t = np.array([0.0, 17.0])
    poses = np.array([MOTIONS[motion](draw_trajectory(rng), t) for _ in range(3000)])
    for moment in range(2):
        x, y, _, radius = poses[:, :, moment].T
        for uniform in (
            np.mod(x, 1),
            np.mod(y, 1),
            np.log(radius / radius.min()) / np.log(radius.max() / radius.min()),
        ):
            counts, _ = np.histogram(uniform, bins=5, range=(0, 1))
            assert abs(counts / 3000 - 0.2).max() < 0.04


@pytest.mark.slow
def test_single_frames_do_not_reveal_the_class() -> None:
    """Nearest neighbors by a frame are at chance within its confidence interval; those by motion are not."""
    frames, motions, labels = [], [], []
    classes = list(MOTIONS)[:8]
    for label in classes:
        for n in range(24):
            rng = np.random.default_rng([7, classes.index(label), n])
            video = render(label, rng, Scene(frames=12, shake=0.0, drift=0.0, distractors=0))
            frames.append(video[4].astype(np.float32).ravel())
            motions.append(_motion(video))
            labels.append(label)
    on_frames = _recall(np.stack(frames), labels)
    low, high = on_frames.interval
    assert low <= on_frames.chance <= high
    assert _recall(np.stack(motions), labels).interval[0] > 2 * on_frames.chance


def _motion(video: np.ndarray) -> np.ndarray:
    """Fractions [7] of the flow that move sideways, up and down, rotate, oscillate, expand and contract."""
    flow = compute_flow(video, "dis")
    x, y = flow[..., 0], flow[..., 1]
    dx, dy = np.gradient(flow, axis=(2, 1))
    spread, orientation = dx[..., 0] + dy[..., 1], dx[..., 1] - dy[..., 0]
    swing = np.abs(np.abs(y).mean(axis=(1, 2)) - np.abs(y.mean(axis=(1, 2))))
    parts = [np.abs(x), np.maximum(-y, 0), np.maximum(y, 0), 3 * np.abs(orientation), swing]
    parts += [3 * np.maximum(spread, 0), 3 * np.maximum(-spread, 0)]
    shares = np.array([part.mean() for part in parts])
    return shares / np.linalg.norm(shares)


def _recall(features: np.ndarray, labels: list[str]):
    every = np.arange(len(labels))
    ids = np.array([str(i) for i in every])
    table = FeatureSet(features, np.array(labels), ids, ids)
    return retrieve(table.select(every % 3 > 0), table.select(every % 3 == 0))
