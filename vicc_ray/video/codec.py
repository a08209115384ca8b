"""How the clip store compresses frames: groups of G that decode by themselves, RGB as H.264, flow as JPEG tiles.

``benchmarks/storage.json`` has the figures this choice rests on. Shapes: T frames, G frames of a group, H height and
W width of a frame (both even), h and w of a flow field, n frames asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Literal

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Planes = tuple[Pixels, Pixels, Pixels]
"""A frame as H.264 has it: Y [H, W], U and V [H / 2, W / 2]."""
FORMATS = ("yuv420p", "yuvj420p")
"""Of decoded frames: three planes of bytes, the chroma of half the size."""
JPEG = b"\xff\xd8\xff"
"""A JPEG begins with it: no other format is decoded."""
REPRODUCIBLE = "threads=1:cpu-independent=1"
"""What x264 is told so that the same frames become the same bytes in every process and on every CPU. Without it the
stream depends on the CPU's instructions, and with AVX-512 it is another one nearly every time."""


class DamagedFrameError(Exception):
    """Stored bytes do not decode to the frames that they should hold."""


class RgbEncoder:
    """Frames uint8 [H, W, 3], H and W even, to H.264: a packet a frame, each ``group`` of them with a key frame first.

    A frame refers to the one before it and to no other, with neither arithmetic coding nor a loop filter: the decoder
    is what a training run waits for.

    Args:
        crf: constant rate factor of x264, 0 (without loss but for the halved chroma) to 51.
    """

    def __init__(self, height: int, width: int, group: int, crf: int) -> None:
        keys = f"keyint={group}:min-keyint={group}:scenecut=0:bframes=0:{REPRODUCIBLE}:log=-1"
        self._encoder = _context("libx264", "w")
        self._encoder.height, self._encoder.width = height, width
        self._encoder.pix_fmt, self._encoder.time_base, self._encoder.framerate = (
            "yuv420p",
            Fraction(1, 25),
            Fraction(25),
        )
        self._encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "fastdecode", "x264-params": keys}
        self._packets: list[bytes] = []
        self._frames = 0

    def push(self, frame: Pixels) -> None:
        """Encode the next frame."""
        planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8)
        self._take(VideoFrame.from_ndarray(planes, format="yuv420p"))
        self._frames += 1

    def packets(self) -> list[bytes]:
        """All packets; to be called once, at the end."""
        self._take(None)
        if len(self._packets) != self._frames:
            raise RuntimeError(f"x264 made {len(self._packets)} packets of {self._frames} frames")
        return self._packets

    def _take(self, frame: VideoFrame | None) -> None:
        self._packets += [bytes(packet) for packet in self._encoder.encode(frame)]


def encode_rgb(frames: Pixels, group: int, crf: int) -> list[bytes]:
    """The packets of :class:`RgbEncoder` for uint8 [T, H, W, 3]."""
    encoder = RgbEncoder(frames.shape[1], frames.shape[2], group, crf)
    for frame in frames:
        encoder.push(frame)
    return encoder.packets()


def decode_planes(
    packets: Sequence[bytes], group: int, wanted: Sequence[int], height: int, width: int
) -> Iterator[tuple[int, Planes]]:
    """The frames ``wanted`` (ascending, each once) as they are decoded, with their indices.

    Of each group, the frames up to the last one wanted are decoded. The planes are the decoder's own memory, not a
    copy: what is done with a frame at once finds it in the processor's cache.

    Raises:
        DamagedFrameError: a packet is damaged.
    """
    left = set(wanted)
    for index, frame in _decoded(packets, _needed(wanted, group)):
        if index not in left:
            continue
        if (frame.height, frame.width) != (height, width) or frame.format.name not in FORMATS:
            raise DamagedFrameError(f"frame {index} is {frame.height} x {frame.width} {frame.format.name}")
        yield index, _planes(frame)


def decode_i420(packets: Sequence[bytes], group: int, indices: NDArray[np.int64], height: int, width: int) -> Pixels:
    """The frames ``indices`` (int [n], in any order, repeated or not) as planes Y, U, V: uint8 [n, 3 H / 2, W].

    Raises:
        DamagedFrameError: a packet is damaged.
    """
    wanted, places = np.unique(indices, return_inverse=True)
    out = np.empty((len(wanted), height * 3 // 2, width), np.uint8)
    for (_, planes), picture in zip(decode_planes(packets, group, wanted.tolist(), height, width), out, strict=True):
        chroma = picture[height:].reshape(2, height // 2, width // 2)
        for plane, into in zip(planes, (picture[:height], *chroma), strict=True):
            into[:] = plane
    return out[places]


def _needed(wanted: Sequence[int], group: int) -> list[int]:
    """All frames that must be decoded to get the ``wanted`` ones, in order."""
    last = {index // group: index for index in wanted}
    return [index for number, end in last.items() for index in range(number * group, end + 1)]


def _decoded(packets: Sequence[bytes], needed: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    decoder = _context("h264", "r")
    done = 0
    try:
        for index in [*needed, -1]:  # -1: ask for what is left
            packet = av.Packet(packets[index]) if index >= 0 else None
            for frame in decoder.decode(packet):
                if frame.is_corrupt or done == len(needed):
                    raise DamagedFrameError(f"frame {needed[min(done, len(needed) - 1)]} is corrupt")
                yield needed[done], frame
                done += 1
    except (av.FFmpegError, IndexError) as error:
        raise DamagedFrameError(f"frame {index} cannot be decoded: {error}") from None
    if done != len(needed):
        raise DamagedFrameError(f"{done} of {len(needed)} frames could be decoded")


def _context(codec: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    context = av.CodecContext.create(codec, mode)
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1  # one core a video: parallel work is over videos
    return context


def _planes(frame: VideoFrame) -> Planes:
    height, width = frame.height, frame.width
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:rows, :columns]
        for plane, rows, columns in zip(
            frame.planes, (height, height // 2, height // 2), (width, width // 2, width // 2), strict=True
        )
    )
    return y, u, v


class FlowEncoder:
    """Quantised flow uint8 [h, w, 2] to grey JPEGs, one a group: frames below each other, u beside v, [G h, 2 w].

    Args:
        quality: of the JPEG, 50 to 100.
    """

    def __init__(self, group: int, quality: int) -> None:
        self._group, self._quality = group, quality
        self._open: list[Pixels] = []
        self._done: list[bytes] = []

    def push(self, field: Pixels) -> None:
        """Add the next frame's flow."""
        self._open.append(np.concatenate([field[..., 0], field[..., 1]], axis=1))
        if len(self._open) == self._group:
            self._close()

    def tiles(self) -> list[bytes]:
        """All JPEGs; to be called once, at the end."""
        if self._open:
            self._close()
        return self._done

    def _close(self) -> None:
        _, data = cv2.imencode(".jpg", np.vstack(self._open), [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        self._done.append(data.tobytes())
        self._open.clear()


def encode_flow(flow_q: Pixels, group: int, quality: int) -> list[bytes]:
    """The tiles of :class:`FlowEncoder` for uint8 [T, h, w, 2]."""
    encoder = FlowEncoder(group, quality)
    for field in flow_q:
        encoder.push(field)
    return encoder.tiles()


def decode_fields(
    tiles: Sequence[bytes], group: int, wanted: Sequence[int], height: int, width: int
) -> Iterator[tuple[int, Pixels]]:
    """The quantised flow of the frames ``wanted`` (ascending) with their indices: uint8 [h, 2 w], u, and v beside it.

    Raises:
        DamagedFrameError: a tile is damaged.
    """
    for number, indices in groupby(wanted, key=lambda index: index // group):
        tile = _tile(tiles, number, 2 * width)
        for index in indices:
            row = index % group
            field = tile[row * height : (row + 1) * height]
            if len(field) != height:
                raise DamagedFrameError("a group of the flow is short")
            yield index, field


def decode_flow(tiles: Sequence[bytes], group: int, indices: NDArray[np.int64], height: int, width: int) -> Pixels:
    """The quantised flow of the frames ``indices`` (int [n], in any order, repeated or not): uint8 [n, h, 2 w].

    Raises:
        DamagedFrameError: a tile is damaged.
    """
    wanted, places = np.unique(indices, return_inverse=True)
    return np.stack([field for _, field in decode_fields(tiles, group, wanted.tolist(), height, width)])[places]


def _tile(tiles: Sequence[bytes], number: int, width: int) -> Pixels:
    data = tiles[number] if number < len(tiles) else b""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data.startswith(JPEG) else None
    except cv2.error:  # of more pixels than OpenCV decodes
        image = None
    if image is None or image.shape[1] != width:
        raise DamagedFrameError(f"group {number} of the flow is no JPEG of its size")
    return np.asarray(image, np.uint8)
