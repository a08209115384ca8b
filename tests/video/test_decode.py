from __future__ import annotations

import gc
import os
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.videos import moving, texture, write_audio, write_video
from vicc_ray.video.decode import Video, VideoError, decode_video, open_frames

FRAMES = moving(20, 64, 96)


def decode(source: Path | bytes, short_side: int | None = None, max_frames: int = 1000, limit: float = 60.0) -> Video:
    return decode_video(source, short_side=short_side, max_frames=max_frames, timeout_s=limit)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def reason(source: Path | bytes, limit: float = 60.0) -> str:
    with pytest.raises(VideoError) as caught:
        decode(source, limit=limit)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "libx264"), ("webm", "libvpx"), ("mpg", "mpeg1video")],
)
def test_frames_are_decoded_in_order_and_in_rgb(tmp_path: Path, suffix: str, codec: str) -> None:
    video = decode(write_video(tmp_path / f"a.{suffix}", FRAMES, codec=codec))
    assert video.frames.shape == FRAMES.shape
    assert video.frames.dtype == np.uint8
    assert video.fps == 25
    for frame in (0, 7, 19):
        errors = [np.abs(video.frames[frame].astype(int) - other).mean() for other in FRAMES]
        assert np.argmin(errors) == frame
    colours = FRAMES.reshape(-1, 3).astype(float)
    decode_packets = video.frames.reshape(-1, 3)
    for channel in range(3):  # red and blue are not swapped
        assert (
            np.argmin([np.abs(decode_packets[:, channel] - colours[:, other]).mean() for other in range(3)]) == channel
        )


def test_h264_is_decoded_accurately(tmp_path: Path) -> None:
    assert psnr(decode(write_video(tmp_path / "a.mp4", FRAMES)).frames, FRAMES) > 35


def test_a_file_and_its_bytes_decode_equally(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES)
    assert np.array_equal(decode(path).frames, decode(path.read_bytes()).frames)


@pytest.mark.parametrize(("short_side", "shape"), [(32, (32, 48)), (33, (33, 50)), (96, (96, 144)), (None, (64, 96))])
def test_the_short_side_is_reached_by_scaling_down_and_up(
    tmp_path: Path, short_side: int | None, shape: tuple[int, int]
) -> None:
    assert decode(write_video(tmp_path / "a.mp4", FRAMES), short_side).frames.shape[1:3] == shape
    upright = write_video(tmp_path / "b.mp4", FRAMES.transpose(0, 2, 1, 3))
    assert decode(upright, short_side).frames.shape[1:3] == shape[::-1]


def test_scaling_down_averages(tmp_path: Path) -> None:
    stripes = np.zeros((4, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    small = decode(write_video(tmp_path / "a.mp4", stripes), 16).frames
    assert np.abs(small.astype(int) - 127).max() < 12


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_display_matrix_is_applied(tmp_path: Path, rotation: int, mirror: bool) -> None:
    upright = np.rot90(FRAMES, rotation // 90, axes=(1, 2))
    upright = upright[:, :, ::-1] if mirror else upright
    path = write_video(tmp_path / "a.mp4", FRAMES, rotation=rotation, mirror=mirror)
    video = decode(path)
    assert video.frames.shape == upright.shape
    assert psnr(video.frames, upright) > 35
    assert min(decode(path, 32).frames.shape[1:3]) == 32


def test_pixels_are_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES, pixel_aspect="2:1")
    assert decode(path, 32).frames.shape[1:3] == (32, 96)


def test_a_variable_rate_keeps_every_frame_once(tmp_path: Path) -> None:
    times = np.cumsum([0] + [10, 10, 500, 33, 7] * 4)[:20].tolist()
    assert psnr(decode(write_video(tmp_path / "a.mp4", FRAMES, timestamps=times)).frames, FRAMES) > 35


def test_a_changing_frame_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    # Concatenated MPEG transport streams can have different sizes.
    halves = [
        write_video(tmp_path / f"{n}.mpg", np.stack([texture(*size)] * 12), codec="mpeg2video")
        for n, size in enumerate([(64, 96), (128, 96)])
    ]
    path = tmp_path / "joined.mpg"
    path.write_bytes(b"".join(half.read_bytes() for half in halves))
    frames = decode(path).frames
    assert frames.shape[1:] == (64, 96, 3)
    assert len(frames) > 14


def test_decoding_stops_at_max_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES)
    assert np.array_equal(decode(path, max_frames=5).frames, decode(path).frames[:5])


def test_a_truncated_file_gives_the_frames_that_decode(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", moving(120, 64, 96))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    frames = decode(cut).frames
    assert 2 <= len(frames) < 120
    assert np.array_equal(frames[:-1], decode(whole).frames[: len(frames) - 1])


def test_damage_in_the_middle_is_survived(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "a.mp4", moving(120, 64, 96)).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    assert 2 <= len(decode(bytes(data)).frames) <= 120


def test_failures_have_reasons(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", FRAMES).read_bytes()
    assert reason(b"") == "empty file"
    assert reason(tmp_path / "none.mp4") == "no such file"
    assert reason(tmp_path) == "not a regular file"
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would block
    assert reason(tmp_path / "pipe.mp4") == "not a regular file"
    assert "not a video" in reason(b"once upon a time\n" * 50)
    assert "not a video" in reason(np.random.default_rng(0).bytes(20000))
    assert "damaged from the start" in reason(data[: len(data) // 2])
    assert reason(write_audio(tmp_path / "audio.mp4")) == "no video stream (audio only)"
    assert reason(write_video(tmp_path / "one.mp4", FRAMES[:1])) == "one frame only; motion needs two"
    assert "limit of 1e-09 s" in reason(data, limit=1e-9)


def test_a_cover_image_is_not_a_video(tmp_path: Path) -> None:
    song = write_audio(tmp_path / "song.mp4")
    assert "audio only" in reason(with_cover(song, tmp_path / "covered.m4a"))


def with_cover(song: Path, path: Path) -> Path:
    with av.open(str(song)) as source, av.open(str(path), "w", format="mp4") as out:
        audio = out.add_stream_from_template(source.streams.audio[0])
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = audio
                out.mux(packet)
        picture = av.VideoFrame.from_ndarray(texture(64, 64), format="rgb24")
        out.mux(cover.encode(picture))
        out.mux(cover.encode(None))
    return path


def test_playlists_open_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4", FRAMES)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.mp4\n#EXT-X-ENDLIST\n"
    for name, text in (("hls.mp4", playlist), ("concat.mp4", "ffconcat version 1.0\nfile secret.mp4\n")):
        (tmp_path / name).write_text(text)
        assert "not a video" in reason(tmp_path / name)


@pytest.mark.slow
def test_no_frame_is_kept_after_it_is_yielded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(60, 64, 96), fps=30)
    others = {id(frame) for frame in gc.get_objects() if isinstance(frame, VideoFrame)}
    with open_frames(path, short_side=None, max_frames=99, timeout_s=60) as stream:
        assert len(list(islice(stream.frames, 40))) == 40
        gc.collect()  # a frame and its side data refer to each other
        frames = [item for item in gc.get_objects() if isinstance(item, VideoFrame) and id(item) not in others]
    times = [frame.time for frame in frames if frame.time is not None]
    assert times
    assert min(times) > 1
