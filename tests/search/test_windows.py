"""Windows of a video: those of the evaluation, with a density that does not depend on the length."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.search.made import SPEC
from tests.videos import moving, write_video
from vicc_ray.search import windows as windows_module
from vicc_ray.search.thumbnail import FRAMES, RATE, SIDE, thumbnail_frames
from vicc_ray.search.windows import WindowChunk, read_window_chunks
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.decode import DecodeTimeoutError, VideoError, decode_video

STRETCH = 40


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "STRETCH", STRETCH)


def read_chunks(path: Path, **spec: int) -> list[WindowChunk]:
    return list(read_window_chunks(path, SPEC.model_copy(update=spec), 60.0))


def test_windows_are_those_of_the_evaluation_in_the_center(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", moving(25, 128, 160))
    (chunk,) = read_chunks(path, size=128)
    frames = decode_video(path, short_side=128, max_frames=1000, timeout_s=60, grid=2).frames[:, :, 16:144]
    expected = windows(25, SPEC.frames, SPEC.step, SPEC.overlap, SPEC.max_windows)
    assert np.array_equal(chunk.clips(0, 99), frames[expected])
    np.testing.assert_allclose(chunk.spans, np.stack([expected[:, 0], expected[:, -1] + 1], 1) / 25)
    assert chunk.seconds == 1.0


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("length", [2, 3, 39, 40, 41, 43, 44, 80, 81, 131])
def test_windows_cover_a_long_video_from_start_to_end(tmp_path: Path, length: int) -> None:
    path = write_video(tmp_path / "video.mp4", moving(length, 32, 32, (1, 0)))
    found = read_chunks(path)
    spans = np.concatenate([chunk.spans for chunk in found]) * 25
    assert spans[0, 0] == 0 or length < 40
    assert round(float(spans[-1, 1])) == length
    assert (spans[:, 0] >= 0).all() and (np.diff(spans[:, 1]) > 0).all()
    assert found[-1].seconds == pytest.approx(length / 25)
    assert sum(len(chunk.spans) for chunk in found) <= SPEC.max_windows * -(-length // STRETCH)
    assert all(chunk.frames[chunk.places].shape[1:] == (4, 32, 32, 3) for chunk in found)
    assert [bool(chunk.thumbnail) for chunk in found] == [True] + [False] * (len(found) - 1)


@pytest.mark.usefixtures("short_stretches")
def test_frames_of_later_stretches_match_their_times(tmp_path: Path) -> None:
    """Each frame is brighter than the one before it."""
    grey = np.arange(80, dtype=np.uint8) * 3 + 10
    path = write_video(tmp_path / "video.mp4", np.tile(grey[:, None, None, None], (1, 32, 32, 3)))
    whole = decode_video(path, short_side=SIDE, max_frames=1000, timeout_s=60, grid=2).frames.mean((1, 2, 3))
    for chunk in read_chunks(path):
        clips = chunk.frames[chunk.places].mean((2, 3, 4))
        first = np.rint(chunk.spans[:, 0] * 25).astype(int)
        np.testing.assert_allclose(clips, whole[first[:, None] + np.arange(4)], atol=0.5)


def test_the_thumbnail_is_small_and_square(tmp_path: Path) -> None:
    (chunk,) = read_chunks(write_video(tmp_path / "video.mp4", moving(100, 48, 64)))
    assert 500 < len(chunk.thumbnail) < 20_000
    with av.open(io.BytesIO(chunk.thumbnail)) as thumbnail:
        pictures = [frame.to_ndarray(format="rgb24") for frame in thumbnail.decode(video=0)]
        assert thumbnail.streams.video[0].average_rate == RATE
    assert {picture.shape for picture in pictures} == {(SIDE, SIDE, 3)}
    assert len(pictures) == FRAMES


@pytest.mark.parametrize(("frames", "fps"), [(2, 25.0), (10, 25.0), (1000, 25.0), (3, 1.0), (500, 240.0), (2, 0.5)])
def test_thumbnail_frames_are_at_real_time_speed_around_the_middle(frames: int, fps: float) -> None:
    found = thumbnail_frames(frames, fps)
    assert 1 <= len(found) <= FRAMES
    assert found.min() >= 0 and found.max() < frames
    assert abs((found[0] + found[-1]) / 2 - (frames - 1) / 2) <= 1


def test_invalid_and_slow_files_raise_errors(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="not a video"):
        read_chunks(tmp_path / "text.mp4")
    with pytest.raises(DecodeTimeoutError):
        list(read_window_chunks(write_video(tmp_path / "video.mp4", moving(50, 32, 32)), SPEC, 1e-9))


@pytest.mark.slow
def test_decoding_needs_no_torch() -> None:
    code = "import sys, vicc_ray.search.server.decode_pool as d; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
