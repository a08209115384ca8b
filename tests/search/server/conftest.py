"""Fixtures of the server's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.videos import moving, write_video


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "video.mp4", moving(10, 32, 32))
