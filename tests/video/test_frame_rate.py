"""The frame rate follows from timestamps, whatever the container declares."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from tests.odd_videos import write_stream
from tests.videos import moving, write_video
from vicc_ray.video.decode import decode_video

FRAMES = moving(21, 64, 96)
RAW = {
    "m2v": ("mpeg2video", "mpeg2video"),
    "m4v": ("mpeg4", "m4v"),
    "264": ("libx264", "h264"),
    "265": ("libx265", "hevc"),
}


def fps(path: Path) -> float:
    return decode_video(path, short_side=None, max_frames=1000, timeout_s=60).fps


def median_rate(path: Path) -> float:
    """One over the median interval of the frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = sorted(frame.pts for frame in container.decode(stream))
        assert stream.time_base is not None
        return float(1 / (np.median(np.diff(stamps)) * stream.time_base))


def with_declared_rate(path: Path, rate: float) -> Path:
    """Change the rate that the metadata of an FLV file declares."""
    data = bytearray(path.read_bytes())
    place = data.index(b"framerate") + len(b"framerate") + 1
    data[place : place + 8] = struct.pack(">d", rate)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rate", [1000.0, 60.0, 15.0, 1e6, 0.0])
def test_timestamps_take_precedence_over_the_declared_rate(tmp_path: Path, rate: float) -> None:
    path = with_declared_rate(write_video(tmp_path / "a.flv", FRAMES, fps=30), rate)
    assert fps(path) == pytest.approx(30, rel=0.01)
    assert fps(path) == pytest.approx(median_rate(path), rel=0.05)


@pytest.mark.parametrize("suffix", RAW)
def test_a_raw_stream_has_the_rate_of_its_codec(tmp_path: Path, suffix: str) -> None:
    codec, form = RAW[suffix]
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    assert fps(write_stream(tmp_path / f"a.{suffix}", FRAMES, codec, fps=30, form=form, **quiet)) == 30


def test_a_time_base_is_not_taken_for_a_rate(tmp_path: Path) -> None:
    assert fps(write_stream(tmp_path / "a.dv", moving(3, 576, 720), "dvvideo", form="dv")) == 25


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "libx264"])
def test_a_declared_field_rate_is_not_the_frame_rate(tmp_path: Path, codec: str) -> None:
    assert fps(write_stream(tmp_path / "a.avi", FRAMES, codec, fps=50, every=2)) == 25


@pytest.mark.parametrize("rate", [24, 25, 30, 60, 120, 240])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "flv", "ts", "avi"])
def test_rounded_timestamps_do_not_change_the_rate(tmp_path: Path, suffix: str, rate: int) -> None:
    assert fps(write_video(tmp_path / f"a.{suffix}", FRAMES, fps=rate)) == rate


@pytest.mark.parametrize("pattern", [[40], [10, 10, 500, 33, 7], [33, 33, 34, 900], [33, 50], [20, 20, 20, 21, 3000]])
def test_a_variable_rate_is_that_of_the_median_interval(tmp_path: Path, pattern: list[int]) -> None:
    times = np.cumsum([0, *(pattern * 20)])[: len(FRAMES)].tolist()
    path = write_video(tmp_path / "a.mkv", FRAMES, timestamps=times)
    assert fps(path) == pytest.approx(1000 / np.median(np.diff(times)), rel=0.05)
    assert fps(path) == pytest.approx(median_rate(path), rel=0.05)


@pytest.mark.parametrize("frames", [40, 41])
@pytest.mark.parametrize(
    ("suffix", "base", "ticks", "rate"),
    [
        pytest.param("ts", 90_000, [3003, 4505], 23.976, id="soft telecine"),
        pytest.param("mkv", 1000, [33, 50], 24.1, id="24 at 60 Hz, rounded down"),
        pytest.param("mkv", 1000, [33, 50, 34, 50], 24, id="24 at 60 Hz"),
        pytest.param("mp4", 30, [2, 3], 12, id="12 in thirtieths"),
        pytest.param("nut", 30, [2, 3], 12, id="12 in thirtieths, as they are"),
        pytest.param("mkv", 1000, [8, 8, 9], 120, id="120, rounded"),
        pytest.param("mkv", 1000, [40], 25, id="constant"),
    ],
)
def test_alternating_intervals_have_the_rate_of_their_mean(
    tmp_path: Path, suffix: str, base: int, ticks: list[int], rate: float, frames: int
) -> None:
    times = np.cumsum([0, *(ticks * frames)])[:frames].tolist()
    path = write_video(tmp_path / f"a.{suffix}", moving(frames, 64, 96), timestamps=times, ticks=base)
    assert fps(path) == pytest.approx(rate, rel=0.01)


def test_of_two_parts_with_different_rates_the_longer_counts(tmp_path: Path) -> None:
    times = np.cumsum([0, *([40] * 15), *([20] * 30)]).tolist()
    assert fps(write_video(tmp_path / "a.mkv", moving(46, 64, 96), timestamps=times)) == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize("frames", [40, 41])
def test_a_pause_does_not_change_the_rate_of_alternating_intervals(tmp_path: Path, frames: int) -> None:
    times = np.cumsum([0, *([33, 50] * 10), 60_000, *([33, 50] * 20)])[:frames].tolist()
    path = write_video(tmp_path / "a.mkv", moving(frames, 64, 96), fps=24, timestamps=times)
    assert fps(path) == pytest.approx(24, rel=0.01)


@pytest.mark.parametrize("distance_ms", [20_000, 100_000])
def test_an_implausible_rate_is_ignored(tmp_path: Path, distance_ms: int) -> None:
    path = write_video(tmp_path / "a.mkv", FRAMES[:5], timestamps=[distance_ms * n for n in range(5)])
    assert fps(path) == 25
