"""Codecs of the clip store: RGB as H.264 in GOPs that decode independently, flow as one JPEG per GOP.

``benchmarks/storage.json`` has the measurements behind this choice. Shapes: T frames, G frames per GOP, H height and W
width of a frame (both even), h and w of a flow field, n requested frames.
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
"""YUV planes of a frame: Y [H, W], U and V [H / 2, W / 2]."""
PIXEL_FORMATS = ("yuv420p", "yuvj420p")
"""Accepted formats of decoded frames: three planes of bytes, chroma at half size."""
JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG; no other image format is decoded."""
REPRODUCIBLE = "threads=1:cpu-independent=1"
"""Parameters that make x264's output equal in every process and on every CPU. Without them the stream depends on the
CPU's instructions, and with AVX-512 it differs in nearly every run."""


class DamagedFrameError(Exception):
    """Stored bytes do not decode to the expected frames."""


class RgbEncoder:
    """Frames uint8 [H, W, 3], H and W even, to H.264: a packet a frame, each ``group`` of them with a key frame first.

    Each frame references only the previous one, without arithmetic coding and loop filter, since decoding speed limits
    training.

    Args:
        crf: constant rate factor of x264, 0 (lossless except for the chroma subsampling) to 51.
    """

    def __init__(self, height: int, width: int, gop_size: int, crf: int) -> None:
        keys = f"keyint={gop_size}:min-keyint={gop_size}:scenecut=0:bframes=0:{REPRODUCIBLE}:log=-1"
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
        """Flush the encoder and return all packets; call it once, at the end."""
        self._take(None)
        if len(self._packets) != self._frames:
            raise RuntimeError(f"x264 returned {len(self._packets)} packets for {self._frames} frames")
        return self._packets

    def _take(self, frame: VideoFrame | None) -> None:
        self._packets += [bytes(packet) for packet in self._encoder.encode(frame)]


def encode_rgb(frames: Pixels, gop_size: int, crf: int) -> list[bytes]:
    """Encode frames uint8 [T, H, W, 3] with :class:`RgbEncoder`; return the packets."""
    encoder = RgbEncoder(frames.shape[1], frames.shape[2], gop_size, crf)
    for frame in frames:
        encoder.push(frame)
    return encoder.packets()


def decode_planes(
    packets: Sequence[bytes], gop_size: int, wanted: Sequence[int], height: int, width: int
) -> Iterator[tuple[int, Planes]]:
    """Decode the frames ``wanted`` (ascending, unique); yield their indices and planes.

    In each GOP, frames up to the last wanted one are decoded. Planes are the decoder's memory, not a copy, so that a
    frame that is used immediately is still in the CPU's cache.

    Raises:
        DamagedFrameError: a packet is damaged.
    """
    left = set(wanted)
    for index, frame in _decoded(packets, _needed(wanted, gop_size)):
        if index not in left:
            continue
        if (frame.height, frame.width) != (height, width) or frame.format.name not in PIXEL_FORMATS:
            raise DamagedFrameError(f"frame {index} is {frame.height} x {frame.width} {frame.format.name}")
        yield index, _planes(frame)


def decode_i420(packets: Sequence[bytes], gop_size: int, indices: NDArray[np.int64], height: int, width: int) -> Pixels:
    """Decode the frames ``indices`` (int [n], any order, repeats allowed) as I420 planes: uint8 [n, 3 H / 2, W].

    Raises:
        DamagedFrameError: a packet is damaged.
    """
    wanted, inverse = np.unique(indices, return_inverse=True)
    out = np.empty((len(wanted), height * 3 // 2, width), np.uint8)
    for (_, planes), picture in zip(decode_planes(packets, gop_size, wanted.tolist(), height, width), out, strict=True):
        chroma = picture[height:].reshape(2, height // 2, width // 2)
        for plane, target in zip(planes, (picture[:height], *chroma), strict=True):
            target[:] = plane
    return out[inverse]


def _needed(wanted: Sequence[int], gop_size: int) -> list[int]:
    """Frames to decode to get the ``wanted`` ones, in order."""
    last = {index // gop_size: index for index in wanted}
    return [index for number, end in last.items() for index in range(number * gop_size, end + 1)]


def _decoded(packets: Sequence[bytes], needed: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    decoder = _context("h264", "r")
    done = 0
    try:
        for index in [*needed, -1]:  # -1 flushes the decoder
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
    context.thread_count = 1  # one core per video; parallelism is over videos
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
    """Quantized flow uint8 [h, w, 2] to gray JPEGs [G h, 2 w], one per GOP: frames stacked vertically, v right of u.

    Args:
        quality: JPEG quality, 50 to 100.
    """

    def __init__(self, gop_size: int, quality: int) -> None:
        self._gop_size, self._quality = gop_size, quality
        self._open: list[Pixels] = []
        self._done: list[bytes] = []

    def push(self, field: Pixels) -> None:
        """Append the flow of the next frame."""
        self._open.append(np.concatenate([field[..., 0], field[..., 1]], axis=1))
        if len(self._open) == self._gop_size:
            self._close()

    def tiles(self) -> list[bytes]:
        """Close the last GOP and return all JPEGs; call it once, at the end."""
        if self._open:
            self._close()
        return self._done

    def _close(self) -> None:
        _, data = cv2.imencode(".jpg", np.vstack(self._open), [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        self._done.append(data.tobytes())
        self._open.clear()


def encode_flow(flow_q: Pixels, gop_size: int, quality: int) -> list[bytes]:
    """Encode flow uint8 [T, h, w, 2] with :class:`FlowEncoder`; return the JPEGs."""
    encoder = FlowEncoder(gop_size, quality)
    for field in flow_q:
        encoder.push(field)
    return encoder.tiles()


def decode_fields(
    tiles: Sequence[bytes], gop_size: int, wanted: Sequence[int], height: int, width: int
) -> Iterator[tuple[int, Pixels]]:
    """Decode the flow of the frames ``wanted`` (ascending); yield indices and uint8 [h, 2 w], v to the right of u.

    Raises:
        DamagedFrameError: a tile is damaged.
    """
    for number, indices in groupby(wanted, key=lambda index: index // gop_size):
        tile = _tile(tiles, number, 2 * width)
        for index in indices:
            row = index % gop_size
            field = tile[row * height : (row + 1) * height]
            if len(field) != height:
                raise DamagedFrameError(f"group {number} of the flow has fewer than {row + 1} frames")
            yield index, field


def decode_flow(tiles: Sequence[bytes], gop_size: int, indices: NDArray[np.int64], height: int, width: int) -> Pixels:
    """Decode the flow of the frames ``indices`` (int [n], any order, repeats allowed): uint8 [n, h, 2 w].

    Raises:
        DamagedFrameError: a tile is damaged.
    """
    wanted, inverse = np.unique(indices, return_inverse=True)
    return np.stack([field for _, field in decode_fields(tiles, gop_size, wanted.tolist(), height, width)])[inverse]


def _tile(tiles: Sequence[bytes], number: int, width: int) -> Pixels:
    data = tiles[number] if number < len(tiles) else b""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data.startswith(JPEG) else None
    except cv2.error:  # more pixels than OpenCV decodes
        image = None
    if image is None or image.shape[1] != width:
        raise DamagedFrameError(f"group {number} of the flow is not a JPEG of width {width}")
    return np.asarray(image, np.uint8)
