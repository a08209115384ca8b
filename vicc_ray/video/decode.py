"""Decoding of videos to RGB frames with PyAV: one thread, frame by frame, bounded in frames and time.

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
from vicc_ray.video.frame_rate import FrameRate, to_fraction
from vicc_ray.video.orientation import UPRIGHT, display_orientation, orient
from vicc_ray.video.packets import Items, decode_packets

__all__ = ["DecodeTimeoutError", "FrameStream", "Video", "VideoError", "decode_video", "open_frames", "timeout_reason"]

EMPTY = (0, False)
"""Score of a stream without frames and without an error."""
MAX_ASPECT = 16
"""Largest allowed aspect ratio; memory at a fixed short side would be unbounded otherwise."""


class DecodeTimeoutError(VideoError):
    """Decoding exceeded its time limit."""


@dataclass(frozen=True)
class Video:
    """Decoded frames, uint8 [T, H, W, 3] RGB with T >= 2, and their rate in frames per second."""

    frames: NDArray[np.uint8]
    fps: float


class FrameStream:
    """Frames of a video, decoded lazily, and what is known of them so far."""

    def __init__(self, items: Items, scaler: _Scaler, rate: FrameRate, bounds: _Bounds) -> None:
        self._rate, self._bounds, self._scaler = rate, bounds, scaler
        self.truncated = False
        """Whether the frames end because of the time limit."""
        self._decoded = self._within_bounds(items)
        self.frames = map(scaler, self._decoded)
        """Iterator of RGB frames uint8 [H, W, 3], all of one size."""

    @property
    def fps(self) -> float:
        """Frames per second, measured over the frames so far; most accurate at the end."""
        return self._rate.fps

    @property
    def source_size(self) -> tuple[int, int]:
        """Height and width of the video, upright and with square pixels; known once a frame is read."""
        return self._scaler.source_size

    def frames_at_source_size(self, max_side: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """The frames of :attr:`frames`, each with itself at the size of the video; reads the same decoded frames.

        Args:
            max_side: limit of the short side of the larger frames, which bounds memory.
        """
        larger = self._scaler.at_source_size(max_side)
        return ((self._scaler(frame), larger(frame)) for frame in self._decoded)

    def _within_bounds(self, items: Items) -> Iterator[VideoFrame]:
        """Frames of the items of :func:`decode_packets`, up to the bounds."""
        taken, problem = 0, ""
        for item in items:
            if self._bounds.are_reached(taken):
                self.truncated = True
                return
            if isinstance(item, VideoFrame):
                taken += 1
                yield item
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
    """Open the first video stream with at least two frames; yield it upright, with square pixels, and scaled.

    Colors are converted by :mod:`vicc_ray.video.color`, and interlaced frames are deinterlaced. At most two frames are
    in memory, however long the video is. Frames keep their order and number whatever their timestamps are, so a
    variable frame rate is decoded as stored. A truncated or damaged file gives the frames that decode, if there are at
    least two.

    Args:
        source: a file, or its bytes.
        short_side: shorter side of the result in pixels, by scaling down or up; None keeps the size. If the frame size
            of a stream changes, frames are scaled to the size of the first.
        max_frames: number of frames after which decoding stops.
        timeout_s: limit in seconds, checked between frames and packets; includes the time that the caller spends on
            frames.
        grid: height and width of the result are rounded to multiples of it.
        enough: number of frames from which a video is truncated at the time limit instead of failing; None: it always
            fails.
        formats: allowed containers and codecs.

    Raises:
        VideoError: the file does not exist, is not a regular file, is empty, is not a video, has no video stream, or is
            encrypted. While iterating: the time limit is exceeded. At the end: there are fewer than two frames.
    """
    bounds = _Bounds(max_frames, timeout_s, enough)
    with _moving_stream(source, bounds, formats) as (stream, items):
        rate = FrameRate(stream)
        scaler = _Scaler(short_side, to_fraction(stream.sample_aspect_ratio), grid)
        yield FrameStream(deinterlace(_noted(items, rate)), scaler, rate, bounds)


def decode_video(
    source: Path | bytes, *, short_side: int | None, max_frames: int, timeout_s: float, grid: int = 1
) -> Video:
    """Decode all frames at once; arguments and errors are those of :func:`open_frames`."""
    with open_frames(source, short_side=short_side, max_frames=max_frames, timeout_s=timeout_s, grid=grid) as stream:
        frames = np.stack(list(stream.frames))
        return Video(frames, stream.fps)


class _Bounds:
    """Limits on the frames and the time of a video; the clock starts at construction."""

    def __init__(self, max_frames: int, timeout_s: float, enough: int | None) -> None:
        self.max_frames, self._limit_s, self._enough = max_frames, timeout_s, enough
        self._end = time.monotonic() + timeout_s

    def are_reached(self, frames: int) -> bool:
        """Whether the time is over; raises DecodeTimeoutError if ``frames`` are too few to truncate."""
        if time.monotonic() <= self._end:
            return False
        if self._enough is None or frames < self._enough:
            raise DecodeTimeoutError(timeout_reason(self._limit_s))
        return True


def timeout_reason(timeout_s: float) -> str:
    """Reason for the failure of a video that exceeded its time limit."""
    return f"took longer than the limit of {timeout_s:g} s (prepare.timeout_s)"


@contextmanager
def _moving_stream(source: Path | bytes, bounds: _Bounds, formats: Formats) -> Iterator[tuple[VideoStream, Items]]:
    """First video stream with two frames, and its items (:func:`decode_packets`).

    Other streams can be empty (a bit rate that was never sent) or hold the still image of an animation. If no stream
    has two frames, it is the one with the most information for the error: with the most frames, else with an error,
    else the first. If there is also an empty stream, frames before the first key frame are decoded too, since that
    stream is all there is of the video.
    """
    scores: list[tuple[int, bool]] = []
    while True:
        with open_container(source, formats) as container:
            streams = video_streams(container, source, formats)
            is_last = len(scores) == len(streams)
            stream = streams[scores.index(max(scores)) if is_last else len(scores)]
            items = decode_packets(container, stream, from_gray=is_last and EMPTY in scores)
            head = _two_frames(items, bounds)
            scores.append((sum(isinstance(item, VideoFrame) for item in head), any(map(_is_problem, head))))
            if is_last or scores[-1][0] == 2:
                yield stream, _replayed(head, items)
                return


def _is_problem(item: VideoFrame | str) -> bool:
    return isinstance(item, str) and item != ""


def _replayed(head: deque[VideoFrame | str], items: Items) -> Items:
    """Items of the head, which is emptied so that it keeps no frame alive, then the others."""
    while head:
        yield head.popleft()
    yield from items


def _two_frames(items: Items, bounds: _Bounds) -> deque[VideoFrame | str]:
    """Items up to the second frame."""
    head: deque[VideoFrame | str] = deque()
    frames = 0
    for item in items:
        head.append(item)
        frames += isinstance(item, VideoFrame)
        if frames == 2 or bounds.are_reached(0):
            break
    return head


def _noted(items: Items, rate: FrameRate) -> Items:
    """Pass the items through, and add their timestamps to ``rate`` before a filter changes them."""
    for item in items:
        if isinstance(item, VideoFrame):
            rate.add(item)
        yield item


def _too_few(frames: int, max_frames: int, problem: str) -> str:
    if problem:
        return f"damaged or truncated: {frames} of the 2 required frames could be decoded ({problem})"
    if frames == 0:
        return "no frames in the video stream"
    return "one frame only; motion needs two" + (" (prepare.max_frames is 1)" if max_frames == 1 else "")


class _Scaler:
    """Scales and rotates frames; all get the size of the first."""

    def __init__(self, short_side: int | None, pixel_aspect: Fraction | None, grid: int, enlarge: bool = True) -> None:
        self.short_side = short_side
        self.grid = grid
        self.enlarge = enlarge
        self.pixel_aspect = pixel_aspect or Fraction(1)
        self.size: tuple[int, int] | None = None
        self.source_size = (0, 0)
        self.orientation = UPRIGHT
        self.convert = RgbConverter()

    def at_source_size(self, max_side: int) -> _Scaler:
        """Scaler of the same stream that only shrinks frames whose short side exceeds ``max_side``."""
        return _Scaler(max_side, self.pixel_aspect, grid=1, enlarge=False)

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if self.size is None:
            self.size = self._target(frame)
            self.orientation = display_orientation(frame)
            size = frame.height, max(1, round(frame.width * self.pixel_aspect))
            self.source_size = size[::-1] if self.orientation[1] else size
        try:
            return orient(self.convert(frame, *self.size), self.orientation)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"frames of format {frame.format.name} cannot be converted ({error})") from None

    def _target(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height before rotation."""
        width, height = float(frame.width * self.pixel_aspect), float(frame.height)
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise VideoError(f"frames of {width:.0f} x {height:.0f} have an aspect ratio above {MAX_ASPECT}:1")
        scale = 1.0 if self.short_side is None else self.short_side / min(width, height)
        scale = scale if self.enlarge else min(1.0, scale)
        return self._rounded(width * scale), self._rounded(height * scale)

    def _rounded(self, side: float) -> int:
        return max(1, round(side / self.grid)) * self.grid
