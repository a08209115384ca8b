"""Files with irregular tracks and packets: all frames that exist are decoded."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.odd_videos import (
    with_sound_behind_the_end,
    without_first_packet,
    write_photos,
    write_stream,
    write_two_tracks,
    write_with_sound,
)
from tests.videos import moving, write_video
from vicc_ray.video.decode import DecodeTimeoutError, VideoError, decode_video

FRAMES = moving(60, 64, 96)
ORIENTATIONS = {  # EXIF orientation -> operation on the stored image
    1: lambda frames: frames,
    2: lambda frames: frames[:, :, ::-1],
    3: lambda frames: np.rot90(frames, 2, axes=(1, 2)),
    4: lambda frames: frames[:, ::-1],
    5: lambda frames: frames.transpose(0, 2, 1, 3),
    6: lambda frames: np.rot90(frames, -1, axes=(1, 2)),
    7: lambda frames: np.rot90(frames, 2, axes=(1, 2)).transpose(0, 2, 1, 3),
    8: lambda frames: np.rot90(frames, 1, axes=(1, 2)),
}


def decode(source: Path | bytes) -> NDArray[np.uint8]:
    return decode_video(source, short_side=None, max_frames=1000, timeout_s=60).frames


def assert_alike(frames: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    assert frames.shape == expected.shape
    errors = np.abs(frames.astype(int) - expected).mean(axis=(1, 2, 3))
    assert errors.max() < 12, errors


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_frames_with_unknown_side_data_are_rotated_upright(tmp_path: Path, orientation: int) -> None:
    frames = decode(write_photos(tmp_path / "a.avi", FRAMES[:5], orientation))
    assert_alike(frames, ORIENTATIONS[orientation](FRAMES[:5]))


def test_a_stream_that_appears_later_does_not_end_decoding(tmp_path: Path) -> None:
    # Noise makes the parts so large that FFmpeg finds no audio when it probes the beginning and end of the file.
    noise = np.random.default_rng(0).integers(256, size=(60, 64, 96, 3), dtype=np.uint8)
    silent = write_video(tmp_path / "silent.ts", noise, fps=5)
    loud = write_with_sound(tmp_path / "loud.ts", FRAMES[:20], fps=5)
    path = tmp_path / "joined.ts"
    path.write_bytes(silent.read_bytes() + loud.read_bytes() + silent.read_bytes())
    assert len(decode(path)) == 140


def test_a_damaged_audio_track_does_not_end_decoding(tmp_path: Path) -> None:
    path = with_sound_behind_the_end(write_with_sound(tmp_path / "a.mp4", FRAMES))
    assert_alike(decode(path), FRAMES)


def test_a_video_track_without_frames_is_skipped(tmp_path: Path) -> None:
    assert_alike(decode(write_two_tracks(tmp_path / "a.mkv", FRAMES[:20])), FRAMES[:20])


def test_a_still_image_before_the_animation_is_skipped(tmp_path: Path) -> None:
    assert_alike(decode(write_stream(tmp_path / "a.avif", FRAMES[:20], "libsvtav1")), FRAMES[:20])


def test_the_decoder_is_flushed_if_the_file_ends_in_an_error(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.nut", FRAMES).read_bytes()
    assert_alike(decode(data + np.random.default_rng(0).bytes(5000)), FRAMES)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((suffix, "libx264") for suffix in ("mkv", "mp4", "flv", "asf", "ts")),
        ("mkv", "mpeg2video"),
        ("avi", "mpeg4"),
        ("mp4", "mpeg4"),
        ("avi", "msmpeg4v3"),
        ("flv", "flv"),
        ("asf", "wmv2"),
    ],
)
def test_frames_without_their_key_frame_are_not_decoded(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_stream(tmp_path / f"a.{'mp4' if suffix == 'mkv' else suffix}", FRAMES, codec, g="600")
    with pytest.raises(VideoError, match="key frame"):
        decode(without_first_packet(path, tmp_path / f"b.{suffix}"))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_start_at_the_first_existing_key_frame(tmp_path: Path, codec: str) -> None:
    path = write_stream(tmp_path / "a.avi", FRAMES, codec, g="20", bf="0", b="2000000")
    assert_alike(decode(without_first_packet(path, tmp_path / "b.avi")), FRAMES[20:])


def test_a_raw_stream_without_a_key_frame_is_reported(tmp_path: Path) -> None:
    data = write_stream(tmp_path / "a.264", FRAMES, "libx264", form="h264", preset="veryfast", bf="0").read_bytes()
    start = data.index(b"\0\0\1\x65")  # the only key frame; the parameter sets come before it
    after = data.index(b"\0\0\1\x41", start)
    with pytest.raises(VideoError, match="key frame"):
        decode(data[:start] + data[after:])


def test_differences_before_a_final_key_frame_are_not_a_video(tmp_path: Path) -> None:
    path = write_stream(tmp_path / "a.ts", FRAMES[:41], "libx264", g="40", keyint_min="40", bf="0")
    with pytest.raises(VideoError, match="key frame"):
        decode(without_first_packet(path, tmp_path / "b.ts"))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_track_without_its_key_frame_is_skipped(tmp_path: Path, codec: str) -> None:
    damaged = write_stream(tmp_path / "a.mp4", FRAMES[::-1], codec, g="600")
    whole = write_video(tmp_path / "b.mp4", FRAMES[:20])
    assert_alike(decode(without_first_packet(damaged, tmp_path / "c.mkv", second=whole)), FRAMES[:20])


def test_beside_an_empty_track_all_frames_of_the_other_are_decoded(tmp_path: Path) -> None:
    assert len(decode(write_two_tracks(tmp_path / "a.mkv", FRAMES[:20], lost=1))) == 19


def test_skipped_tracks_count_towards_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_two_tracks(tmp_path / "a.mkv", FRAMES[:20], empty=30)
    # A fake clock: every reading takes a second.
    monkeypatch.setattr("vicc_ray.video.decode.time", SimpleNamespace(monotonic=count().__next__))
    with pytest.raises(DecodeTimeoutError):
        decode_video(path, short_side=None, max_frames=1000, timeout_s=20)
    assert len(decode_video(path, short_side=None, max_frames=1000, timeout_s=1000).frames) == 20
