"""Frames that hold two moments in alternate lines, made whole: FFmpeg's bwdif, one frame out for each frame in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

COLOUR = ("colorspace", "color_range", "color_trc", "color_primaries")


def deinterlaced(frames: Iterable[VideoFrame | str]) -> Iterator[VideoFrame | str]:
    """Frames in their order and number, those that are flagged as interlaced without their combs.

    Strings (see :mod:`vicc_ray.video.decode`) pass. Until the first interlaced frame nothing is done or held; from
    then on one frame is held back, since the filter looks at the neighbours of a frame.
    """
    graph: _Filter | None = None
    for frame in frames:
        if isinstance(frame, str):
            yield frame
            continue
        if graph and not graph.takes(frame):
            yield from graph.push(None)
            graph = None
        if not graph and frame.interlaced_frame:
            graph = _Filter(frame)
        if graph:
            yield from graph.push(frame)
        else:
            yield frame
    if graph:
        yield from graph.push(None)


class _Filter:
    """The filter, for frames of one size and pixel format."""

    def __init__(self, first: VideoFrame) -> None:
        self._shape = self._shape_of(first)
        self._colour = {name: getattr(first, name) for name in COLOUR}
        self._pushed = 0
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 25)
        )
        bwdif = self._graph.add("bwdif", mode="send_frame", deint="interlaced", threads="1")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    @staticmethod
    def _shape_of(frame: VideoFrame) -> tuple[int, int, str]:
        return frame.width, frame.height, frame.format.name

    def takes(self, frame: VideoFrame) -> bool:
        """Whether the frame has the size and format of the first."""
        return self._shape_of(frame) == self._shape

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """The frames that are ready after one more, or, after None, all that are left."""
        if frame is not None:
            # The filter goes by the time stamps, and a broken stream has none, or the same twice.
            frame.pts, frame.time_base = self._pushed, Fraction(1, 25)
            self._pushed += 1
        self._graph.vpush(frame)
        while True:
            try:
                ready = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            for name, value in self._colour.items():  # the filter's links do not carry them
                setattr(ready, name, value)
            yield ready
