"""What a network sees of a video: the evaluation's windows, as closely however long the video is."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.search.made import VIEW
from tests.videos import moving, write_video
from vicc_ray.search import windows as windows_module
from vicc_ray.search.thumbnail import FRAMES, RATE, SIDE, thumbnail_frames
from vicc_ray.search.windows import WindowChunk, read_pieces
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.decode import DecodeTimeoutError, VideoError, decode_video

STRETCH = 40


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "STRETCH", STRETCH)


def seen(path: Path, **view: int) -> list[WindowChunk]:
    return list(read_pieces(path, VIEW.model_copy(update=view), 60.0))


def test_windows_are_those_of_the_evaluation_in_the_centre(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", moving(25, 128, 160))
    (piece,) = seen(path, size=128)
    frames = decode_video(path, short_side=128, max_frames=1000, timeout_s=60, grid=2).frames[:, :, 16:144]
    expected = windows(25, VIEW.frames, VIEW.step, VIEW.overlap, VIEW.max_windows)
    assert np.array_equal(piece.clips(0, 99), frames[expected])
    np.testing.assert_allclose(piece.spans, np.stack([expected[:, 0], expected[:, -1] + 1], 1) / 25)
    assert piece.seconds == 1.0


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("length", [2, 3, 39, 40, 41, 43, 44, 80, 81, 131])
def test_a_long_video_is_seen_from_its_begin_to_its_end(tmp_path: Path, length: int) -> None:
    path = write_video(tmp_path / "film.mp4", moving(length, 32, 32, (1, 0)))
    found = seen(path)
    spans = np.concatenate([piece.spans for piece in found]) * 25
    assert spans[0, 0] == 0 or length < 40
    assert round(float(spans[-1, 1])) == length
    assert (spans[:, 0] >= 0).all() and (np.diff(spans[:, 1]) > 0).all()
    assert found[-1].seconds == pytest.approx(length / 25)
    assert sum(len(piece.spans) for piece in found) <= VIEW.max_windows * -(-length // STRETCH)
    assert all(piece.frames[piece.places].shape[1:] == (4, 32, 32, 3) for piece in found)
    assert [bool(piece.film) for piece in found] == [True] + [False] * (len(found) - 1)


@pytest.mark.usefixtures("short_stretches")
def test_frames_of_a_later_stretch_are_those_of_its_times(tmp_path: Path) -> None:
    """Each frame is brighter than the one before it."""
    grey = np.arange(80, dtype=np.uint8) * 3 + 10
    path = write_video(tmp_path / "film.mp4", np.tile(grey[:, None, None, None], (1, 32, 32, 3)))
    whole = decode_video(path, short_side=SIDE, max_frames=1000, timeout_s=60, grid=2).frames.mean((1, 2, 3))
    for piece in seen(path):
        clips = piece.frames[piece.places].mean((2, 3, 4))
        first = np.rint(piece.spans[:, 0] * 25).astype(int)
        np.testing.assert_allclose(clips, whole[first[:, None] + np.arange(4)], atol=0.5)


def test_the_film_is_small_square_and_of_the_middle(tmp_path: Path) -> None:
    (piece,) = seen(write_video(tmp_path / "film.mp4", moving(100, 48, 64)))
    assert 500 < len(piece.film) < 20_000
    with av.open(io.BytesIO(piece.film)) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == RATE
    assert {picture.shape for picture in pictures} == {(SIDE, SIDE, 3)}
    assert len(pictures) == FRAMES


@pytest.mark.parametrize(("frames", "fps"), [(2, 25.0), (10, 25.0), (1000, 25.0), (3, 1.0), (500, 240.0), (2, 0.5)])
def test_film_indices_are_frames_of_the_video_in_real_time(frames: int, fps: float) -> None:
    found = thumbnail_frames(frames, fps)
    assert 1 <= len(found) <= FRAMES
    assert found.min() >= 0 and found.max() < frames
    assert abs((found[0] + found[-1]) / 2 - (frames - 1) / 2) <= 1


def test_what_is_no_video_and_what_takes_too_long_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="not a video"):
        seen(tmp_path / "text.mp4")
    with pytest.raises(DecodeTimeoutError):
        list(read_pieces(write_video(tmp_path / "film.mp4", moving(50, 32, 32)), VIEW, 1e-9))


def test_decoding_needs_no_torch() -> None:
    code = "import sys, vicc_ray.search.server.decode_pool as d; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
