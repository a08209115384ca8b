"""Video bytes to RGB frames with PyAV: one thread, frame by frame, bounded in frames and time.

Shapes: T frames, H height, W width.
"""

from __future__ import annotations

import io
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vicc_ray.video.colour import RgbConverter
from vicc_ray.video.deinterlace import deinterlaced

CONTAINERS = "mov,mp4,3gp,avi,matroska,webm,mpeg,mpegts,mpegvideo,flv,asf,ogg,mxf,h264,hevc,m4v,ivf,dv,rm,nut,wtv"
"""FFmpeg demuxers that may open a file. Playlists (hls, concat) are not among them: they would read other files."""
LARGEST_ASPECT = 16
"""Largest ratio of the sides; a longer frame would cost memory without bound at a fixed short side."""
DEFAULT_RATE = 25.0
"""Frames a second of a stream that does not tell its rate (FFmpeg's own choice)."""


class VideoError(Exception):
    """A file gives no clip; the message is one line of plain words."""


class TookTooLong(VideoError):
    """The time limit is over."""


@dataclass(frozen=True)
class Video:
    """Decoded frames, uint8 [T, H, W, 3] RGB with T >= 2, and their rate in frames a second."""

    frames: NDArray[np.uint8]
    fps: float


@dataclass(frozen=True)
class FrameStream:
    """Frames that are decoded when they are asked for, uint8 [H, W, 3] RGB, all of one size, and their rate."""

    frames: Iterator[NDArray[np.uint8]]
    fps: float


@contextmanager
def open_frames(
    source: Path | bytes, *, short_side: int | None, max_frames: int, time_limit_s: float, grid: int = 1
) -> Iterator[FrameStream]:
    """The frames of the first video stream, upright, with square pixels, scaled as soon as they are decoded.

    Colours come out as :mod:`vicc_ray.video.colour` tells, and interlaced frames as whole ones. However long the video
    is, one frame is held.

    Args:
        source: a file, or its bytes.
        short_side: the shorter side of the result in pixels, reached by scaling down or up; None keeps the size.
            A stream whose frame size changes is scaled to the size of its first frame.
        max_frames: decoding stops after so many frames.
        time_limit_s: seconds after which decoding is given up, looked at between frames and packets; what is done with
            the frames in between counts too.
        grid: height and width of the result are rounded to multiples of this.

    Frames keep their order and number whatever their timestamps, so a variable rate is decoded as it is stored.
    A truncated or damaged file gives the frames that decode, if there are at least two.

    Raises:
        VideoError: no such file, not a regular one, empty, not a video, no video stream; while frames are taken: the
            time limit; at the end of the frames: fewer than two.
    """
    deadline = _Deadline(time_limit_s)
    with _open(source) as container:
        stream = _video_stream(container)
        rate = stream.average_rate or stream.guessed_rate
        scaler = _Scaler(short_side, stream.sample_aspect_ratio, grid)
        items = deinterlaced(_frames(container, stream))
        yield FrameStream(_scaled(items, scaler, max_frames, deadline), float(rate) if rate else DEFAULT_RATE)


def decode_video(
    source: Path | bytes, *, short_side: int | None, max_frames: int, time_limit_s: float, grid: int = 1
) -> Video:
    """All frames of :func:`open_frames` at once; the same arguments and errors."""
    with open_frames(
        source, short_side=short_side, max_frames=max_frames, time_limit_s=time_limit_s, grid=grid
    ) as stream:
        return Video(np.stack(list(stream.frames)), stream.fps)


class _Deadline:
    def __init__(self, limit_s: float) -> None:
        self.limit_s, self.end = limit_s, time.monotonic() + limit_s

    def check(self) -> None:
        if time.monotonic() > self.end:
            raise TookTooLong(too_long(self.limit_s))


def _scaled(
    items: Iterator[VideoFrame | str], scaler: _Scaler, max_frames: int, deadline: _Deadline
) -> Iterator[NDArray[np.uint8]]:
    """Frames made of the items of :func:`_frames`."""
    taken, problem = 0, ""
    for item in items:
        deadline.check()
        if isinstance(item, VideoFrame):
            taken += 1
            yield scaler(item)
        else:
            problem = item or problem
        if taken == max_frames:
            break
    deadline.check()
    if taken < 2:
        raise VideoError(_too_few(taken, max_frames, problem))


def too_long(time_limit_s: float) -> str:
    """The reason of a video that took too much time."""
    return f"took longer than the limit of {time_limit_s:g} s (prepare.time_limit_s)"


def _open(source: Path | bytes) -> InputContainer:
    try:
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
            raise VideoError("not a regular file")  # opening a named pipe would wait for ever
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise VideoError("empty file")
        file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        return av.open(file, mode="r", options={"format_whitelist": CONTAINERS}, metadata_errors="replace")
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})") from None
    except av.FFmpegError as error:
        raise VideoError(f"not a video, or damaged from the start ({error.strerror})") from None


def _video_stream(container: InputContainer) -> VideoStream:
    # The cover picture of a song is a video stream too, of one frame.
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError("no video stream" + (" (audio only)" if container.streams.audio else ""))
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError("compressed in a way that FFmpeg does not know, or damaged")
    stream.codec_context.thread_count = 1  # one core a video: parallel work is over videos
    return stream


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | str]:
    """Frames in display order; after each packet a string: what went wrong, or nothing."""
    packets = container.demux(stream)
    while True:
        problem = ""
        try:
            packet = next(packets, None)
            if packet is None:
                return
        except av.FFmpegError as error:
            yield str(error.strerror)
            return
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            problem = str(error.strerror)
        yield problem


def _too_few(frames: int, max_frames: int, problem: str) -> str:
    if problem:
        return f"damaged or cut off: {frames} of the at least 2 frames needed could be decoded ({problem})"
    if frames == 0:
        return "no frames in the video stream"
    return "one frame only; motion needs two" + (" (prepare.max_frames is 1)" if max_frames == 1 else "")


class _Scaler:
    """Scales and turns frames; all come out with the size of the first."""

    def __init__(self, short_side: int | None, pixel_aspect: Fraction | None, grid: int) -> None:
        self.short_side = short_side
        self.grid = grid
        self.pixel_aspect = pixel_aspect or Fraction(1)
        self.size: tuple[int, int] | None = None
        self.turn = (1, 0, 0, 1)
        self.convert = RgbConverter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if self.size is None:
            self.size = self._target(frame)
            self.turn = _display_turn(frame)
        try:
            return _turned(self.convert(frame, *self.size), self.turn)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"frames of format {frame.format.name} cannot be converted ({error})") from None

    def _target(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height before the turn."""
        width, height = float(frame.width * self.pixel_aspect), float(frame.height)
        if max(width, height) > LARGEST_ASPECT * min(width, height):
            raise VideoError(f"frames of {width:.0f} x {height:.0f} are longer than {LARGEST_ASPECT}:1")
        scale = 1.0 if self.short_side is None else self.short_side / min(width, height)
        return self._rounded(width * scale), self._rounded(height * scale)

    def _rounded(self, side: float) -> int:
        return max(1, round(side / self.grid)) * self.grid


def _display_turn(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The display matrix's linear part (a, b, c, d), to the nearest quarter turn or mirror image.

    FFmpeg, libavutil/display.h: the pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
    if abs(a) >= abs(b):
        return (1 if a >= 0 else -1), 0, 0, (1 if d >= 0 else -1)
    return 0, (1 if b >= 0 else -1), (1 if c >= 0 else -1), 0


def _turned(image: NDArray[np.uint8], turn: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    a, b, c, d = turn
    if b:
        image = image.transpose(1, 0, 2)
    if a + c < 0:
        image = image[:, ::-1]
    if b + d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
