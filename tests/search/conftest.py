"""Fixtures: a small index of real video files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.search.made import index_here
from tests.videos import moving, write_video

NAMES = ("a/left.mp4", "a/<img src=x onerror=alert(1)>.mp4", "a/right.mp4", "b/up.mp4", "b/down & out.mp4")
SPEEDS = ((2, 0), (-2, 1), (3, 1), (0, -2), (1, 2))


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos of one second with different textures and motions."""
    folder = tmp_path_factory.mktemp("videos")
    for seed, (name, speed) in enumerate(zip(NAMES, SPEEDS, strict=True)):
        write_video(folder / name, moving(25, 48, 64, speed, seed))
    return folder


@pytest.fixture(scope="session")
def index_folder(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Index of :func:`videos`; tests must not change it."""
    return index_here(videos, tmp_path_factory.mktemp("index"))
