from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray

from tests.videos import moving, write_video
from vicc_ray.video.color import RgbConverter
from vicc_ray.video.decode import decode_video
from vicc_ray.video.deinterlace import deinterlace

FIELDS = moving(24, 64, 96, (4, 0))
FLAGS = {"flags": "+ildct+ilme"}


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def write_interlaced(path: Path, fields: NDArray[np.uint8], codec: str, rotation: int = 0) -> NDArray[np.uint8]:
    """Write pairs of fields as interlaced frames, bottom field first; return the interlaced frames."""
    combed = fields[1::2].copy()
    combed[:, 1::2] = fields[0::2, 1::2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = fields.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {**FLAGS, **({"crf": "10", "preset": "veryfast"} if codec == "libx264" else {"b": "4000000"})}
        stream.codec_context.colorspace = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for image in combed:
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                        format="yuv420p", dst_colorspace="ITU709"
                    )
                )
            )
        container.mux(stream.encode(None))
    return combed


def decode(path: Path) -> NDArray[np.uint8]:
    return decode_video(path, short_side=None, max_frames=100, timeout_s=60).frames


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mpg", "mpeg2video")])
def test_each_interlaced_frame_is_deinterlaced_to_one_frame(tmp_path: Path, suffix: str, codec: str) -> None:
    combed = write_interlaced(tmp_path / f"a.{suffix}", FIELDS, codec)
    frames = decode(tmp_path / f"a.{suffix}")
    assert frames.shape == combed.shape
    first_moments = FIELDS[0::2]
    assert psnr(combed, first_moments) < 20
    assert psnr(frames, first_moments) > 28


def test_two_frames_are_enough(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "a.mp4", FIELDS[:4], "libx264")
    assert len(decode(tmp_path / "a.mp4")) == 2


def test_an_interlaced_stream_is_rotated_upright(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "a.mp4", FIELDS, "libx264", rotation=90)
    assert psnr(decode(tmp_path / "a.mp4"), np.rot90(FIELDS[0::2], axes=(1, 2))) > 28


def test_a_stream_may_change_to_interlaced_and_back(tmp_path: Path) -> None:
    plain = moving(12, 64, 96, seed=1)
    write_interlaced(tmp_path / "i.mpg", FIELDS, "mpeg2video")
    parts = [write_video(tmp_path / "p.mpg", plain, codec="mpeg2video"), tmp_path / "i.mpg", tmp_path / "p.mpg"]
    joined = tmp_path / "joined.mpg"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(joined)) as container:
        count = sum(1 for _ in container.decode(video=0))
    frames = decode(joined)
    assert len(frames) == count > 30
    assert psnr(frames[:12], decode(tmp_path / "p.mpg")) > 28
    assert psnr(frames[-10:], decode(tmp_path / "p.mpg")[-10:]) > 28


BARS = np.array(
    [[190, 189, 0], [0, 190, 189], [10, 20, 200], [220, 40, 30], [128, 128, 128], [255, 255, 255], [0, 0, 0]]
)
FORMATS = (
    "uyvy422 yuyv422 nv12 nv16 p010le p210le y210le yuva444p12le yuva420p yuv420p yuv422p10le yuv440p10le gray10le "
    "gray rgb24 bgra gbrap12le yuvj420p"
)


@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("format", FORMATS.split())
def test_colors_equal_those_of_progressive_frames(format: str, color_range: int) -> None:
    bars = np.repeat(np.repeat(BARS[None].astype(np.uint8), 32, axis=1), 64, axis=0)
    stored = av.VideoFrame.from_ndarray(bars, format="rgb24").reformat(
        format=format, dst_colorspace="ITU709", dst_color_range=color_range
    )
    stored.colorspace, stored.color_range = 1, color_range
    plain, made_whole = (
        [RgbConverter()(frame, *size) for frame in deinterlace(frames)]
        for frames, size in [
            (frames, (bars.shape[1], 64)) for frames in ([stored] * 3, as_interlaced(stored, stored, stored))
        ]
    )
    assert len(made_whole) == len(plain)
    for frame in made_whole:
        assert np.abs(frame.astype(int) - plain[0]).max() <= 3


@pytest.mark.parametrize("format", ["uyvy422", "nv16", "rgb24", "yuv422p10le"])
def test_frames_of_every_format_are_deinterlaced(format: str) -> None:
    combed = FIELDS[1::2].copy()
    combed[:, 1::2] = FIELDS[0::2, 1::2]  # bottom field first
    stored = [av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format) for image in combed]
    frames = np.stack([RgbConverter()(frame, 96, 64) for frame in deinterlace(as_interlaced(*stored, mode="bff"))])
    assert frames.shape == combed.shape
    assert psnr(combed, FIELDS[0::2]) < 20
    assert psnr(frames, FIELDS[0::2]) > 26


def as_interlaced(*frames: av.VideoFrame, mode: str = "tff") -> list[av.VideoFrame]:
    """Flag frames as interlaced."""
    graph, first = Graph(), frames[0]
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("setfield", mode=mode), graph.add("buffersink")).configure()
    flagged = []
    for n, frame in enumerate(frames):
        frame.pts = n
        graph.vpush(frame)
        flagged.append(graph.vpull())
        flagged[-1].colorspace, flagged[-1].color_range = frame.colorspace, frame.color_range
        assert flagged[-1].interlaced_frame
    return flagged
