"""Video bytes to RGB frames with PyAV: one thread, frame by frame, bounded in frames and time.

Shapes: T frames, H height, W width.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vicc_ray.video.color import RgbConverter
from vicc_ray.video.containers import ANY, VideoError, open_container, video_streams
from vicc_ray.video.deinterlace import deinterlace
from vicc_ray.video.formats import Formats
from vicc_ray.video.frame_rate import FrameRate
from vicc_ray.video.orientation import UPRIGHT, display_orientation, orient
from vicc_ray.video.packets import Items, decode_packets

__all__ = ["DecodeTimeoutError", "FrameStream", "Video", "VideoError", "decode_video", "open_frames", "timeout_reason"]

EMPTY = (0, False)
"""A stream without frames, in which nothing is wrong."""
MAX_ASPECT = 16
"""Largest ratio of the sides; a longer frame would cost memory without bound at a fixed short side."""


class DecodeTimeoutError(VideoError):
    """The time limit is over."""


@dataclass(frozen=True)
class Video:
    """Decoded frames, uint8 [T, H, W, 3] RGB with T >= 2, and their rate in frames a second."""

    frames: NDArray[np.uint8]
    fps: float


class FrameStream:
    """Frames that are decoded when they are asked for, and what is known of them by then."""

    def __init__(self, items: Items, scaler: _Scaler, rate: FrameRate, bounds: _Bounds) -> None:
        self._rate, self._bounds = rate, bounds
        self.truncated = False
        """Whether the time limit ended the frames, not the video."""
        self.frames = self._scaled(items, scaler)
        """Frames uint8 [H, W, 3] RGB, all of one size."""

    @property
    def fps(self) -> float:
        """Their rate in frames a second, measured over those so far; so it is best asked for at the end."""
        return self._rate.fps

    def _scaled(self, items: Items, scaler: _Scaler) -> Iterator[NDArray[np.uint8]]:
        """Frames made of the items of :func:`decode_packets`."""
        taken, problem = 0, ""
        for item in items:
            if self._bounds.are_reached(taken):
                self.truncated = True
                return
            if isinstance(item, VideoFrame):
                taken += 1
                yield scaler(item)
            else:
                problem = item or problem
            if taken == self._bounds.max_frames:
                break
        self._bounds.are_reached(taken)
        if taken < 2:
            raise VideoError(_too_few(taken, self._bounds.max_frames, problem))


@contextmanager
def open_frames(
    source: Path | bytes,
    *,
    short_side: int | None,
    max_frames: int,
    timeout_s: float,
    grid: int = 1,
    enough: int | None = None,
    formats: Formats = ANY,
) -> Iterator[FrameStream]:
    """The frames of the first video stream that moves, upright, with square pixels, scaled as soon as they are decoded.

    Colours come out as :mod:`vicc_ray.video.color` tells, and interlaced frames as whole ones. However long the video
    is, two frames at most are held.

    Args:
        source: a file, or its bytes.
        short_side: the shorter side of the result in pixels, reached by scaling down or up; None keeps the size.
            A stream whose frame size changes is scaled to the size of its first frame.
        max_frames: decoding stops after so many frames.
        timeout_s: seconds after which decoding is given up, looked at between frames and packets; what is done with
            the frames in between counts too.
        grid: height and width of the result are rounded to multiples of this.
        enough: frames that make a video whose time is over one that is cut short there; None: it always fails.
        formats: which containers and codecs it may have.

    Frames keep their order and number whatever their timestamps, so a variable rate is decoded as it is stored.
    A truncated or damaged file gives the frames that decode, if there are at least two.

    Raises:
        VideoError: no such file, not a regular one, empty, not a video, no video stream, encrypted; while frames are
            taken: the time limit; at the end of the frames: fewer than two.
    """
    bounds = _Bounds(max_frames, timeout_s, enough)
    with _moving_stream(source, bounds, formats) as (stream, items):
        rate = FrameRate(stream)
        scaler = _Scaler(short_side, stream.sample_aspect_ratio, grid)
        yield FrameStream(deinterlace(_noted(items, rate)), scaler, rate, bounds)


def decode_video(
    source: Path | bytes, *, short_side: int | None, max_frames: int, timeout_s: float, grid: int = 1
) -> Video:
    """All frames of :func:`open_frames` at once; the same arguments and errors."""
    with open_frames(source, short_side=short_side, max_frames=max_frames, timeout_s=timeout_s, grid=grid) as stream:
        frames = np.stack(list(stream.frames))
        return Video(frames, stream.fps)


class _Bounds:
    """How much is decoded of a video; the time runs from here on."""

    def __init__(self, max_frames: int, timeout_s: float, enough: int | None) -> None:
        self.max_frames, self._limit_s, self._enough = max_frames, timeout_s, enough
        self._end = time.monotonic() + timeout_s

    def are_reached(self, frames: int) -> bool:
        """Whether the time is over; raises TookTooLong where so many frames are not enough then."""
        if time.monotonic() <= self._end:
            return False
        if self._enough is None or frames < self._enough:
            raise DecodeTimeoutError(timeout_reason(self._limit_s))
        return True


def timeout_reason(timeout_s: float) -> str:
    """The reason of a video that took too much time."""
    return f"took longer than the limit of {timeout_s:g} s (prepare.timeout_s)"


@contextmanager
def _moving_stream(source: Path | bytes, bounds: _Bounds, formats: Formats) -> Iterator[tuple[VideoStream, Items]]:
    """The first video stream that gives two frames, and its items (see :func:`decode_packets`).

    Others are there without frames (a rate that was never sent), or hold the still picture of an animation. Where no
    stream moves, the one that tells most of why: with the most frames, else with a problem, else the first. Beside an
    empty stream that one has all there is to see of the video: what it shows before a key frame is taken too.
    """
    told: list[tuple[int, bool]] = []
    while True:
        with open_container(source, formats) as container:
            streams = video_streams(container, source, formats)
            is_last = len(told) == len(streams)
            stream = streams[told.index(max(told)) if is_last else len(told)]
            items = decode_packets(container, stream, from_gray=is_last and EMPTY in told)
            head = _until_it_moves(items, bounds)
            told.append((sum(isinstance(item, VideoFrame) for item in head), any(map(_is_problem, head))))
            if is_last or told[-1][0] == 2:
                yield stream, _replayed(head, items)
                return


def _is_problem(item: VideoFrame | str) -> bool:
    return isinstance(item, str) and item != ""


def _replayed(head: deque[VideoFrame | str], items: Items) -> Items:
    """The items of the head, which is emptied, so that it keeps no frame; then the others."""
    while head:
        yield head.popleft()
    yield from items


def _until_it_moves(items: Items, bounds: _Bounds) -> deque[VideoFrame | str]:
    """The items up to the second frame."""
    head: deque[VideoFrame | str] = deque()
    frames = 0
    for item in items:
        head.append(item)
        frames += isinstance(item, VideoFrame)
        if frames == 2 or bounds.are_reached(0):
            break
    return head


def _noted(items: Items, rate: FrameRate) -> Items:
    """The items, their time stamps noted before a filter changes them."""
    for item in items:
        if isinstance(item, VideoFrame):
            rate.add(item)
        yield item


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
        self.orientation = UPRIGHT
        self.convert = RgbConverter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if self.size is None:
            self.size = self._target(frame)
            self.orientation = display_orientation(frame)
        try:
            return orient(self.convert(frame, *self.size), self.orientation)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"frames of format {frame.format.name} cannot be converted ({error})") from None

    def _target(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height before the turn."""
        width, height = float(frame.width * self.pixel_aspect), float(frame.height)
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise VideoError(f"frames of {width:.0f} x {height:.0f} are longer than {MAX_ASPECT}:1")
        scale = 1.0 if self.short_side is None else self.short_side / min(width, height)
        return self._rounded(width * scale), self._rounded(height * scale)

    def _rounded(self, side: float) -> int:
        return max(1, round(side / self.grid)) * self.grid
