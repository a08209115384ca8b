"""Deinterlacing with FFmpeg's bwdif: one frame out for each frame in.

The filter accepts only planar formats. For others FFmpeg would insert a scaler that ignores the stream's color tags and
changes the matrix. So frames are converted to a planar format here, with matrix and range unchanged, and back, because
swscale rounds each format differently. (RGB and palette frames stay planar RGB.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

COLOR_ATTRIBUTES = ("colorspace", "color_range", "color_trc", "color_primaries")
DEPTHS = (9, 10, 12, 14, 16)
"""Bits per sample above 8 that the filter supports."""
SUBSAMPLING = {(8, 8): "444", (4, 8): "422", (4, 4): "420", (2, 8): "411", (2, 2): "410", (8, 4): "440"}
"""Chroma samples across and down per 8 x 8 luma samples -> name of the subsampling."""


def deinterlace(frames: Iterable[VideoFrame | str]) -> Iterator[VideoFrame | str]:
    """Deinterlace the frames that are flagged as interlaced; number and order of frames stay.

    Strings (see :mod:`vicc_ray.video.packets`) pass through. From the first interlaced frame on, output is one frame
    behind, because the filter uses the neighbors of a frame.
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
    """bwdif filter graph for frames of one size and pixel format."""

    def __init__(self, first: VideoFrame) -> None:
        self._shape = self._shape_of(first)
        self._colour = {name: getattr(first, name) for name in COLOR_ATTRIBUTES}
        self._planar = planar_format(first.format)
        self._format = self._planar if self._planar.startswith("gbr") else first.format.name
        self._repack, self._unpack = VideoReformatter(), VideoReformatter()
        self._pushed = 0
        self._graph = Graph()
        format = VideoFormat(self._planar, first.width, first.height)
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=format, time_base=Fraction(1, 25)
        )
        bwdif = self._graph.add("bwdif", mode="send_frame", deint="interlaced", threads="1")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    @staticmethod
    def _shape_of(frame: VideoFrame) -> tuple[int, int, str]:
        return frame.width, frame.height, frame.format.name

    def takes(self, frame: VideoFrame) -> bool:
        """Whether a frame has the size and format of the graph."""
        return self._shape_of(frame) == self._shape

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Push a frame and yield those that are ready; None flushes the graph."""
        if frame is not None:
            frame = self._repack.reformat(frame, format=self._planar, threads=1)
            # The filter needs increasing timestamps, and a broken stream may have none or repeat them.
            frame.pts, frame.time_base = self._pushed, Fraction(1, 25)
            self._pushed += 1
        self._graph.vpush(frame)
        while True:
            try:
                ready = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            for name, value in self._colour.items():  # filter links drop these
                setattr(ready, name, value)
            yield self._unpack.reformat(ready, format=self._format, threads=1)


def planar_format(format: VideoFormat) -> str:
    """Name of the planar format that represents ``format`` without loss."""
    if format.name.startswith("yuvj"):
        return format.name
    bits = max(component.bits for component in format.components)
    depth = f"{min((depth for depth in DEPTHS if depth >= bits), default=16)}le" if bits > 8 else ""
    if format.is_rgb or format.has_palette:
        alpha = any(component.is_alpha for component in format.components)
        return f"gbra{'p16le' if depth else 'p'}" if alpha else f"gbrp{depth}"
    if len(format.components) < 3:
        return "gray16le" if depth else "gray"
    subsampling = SUBSAMPLING[format.chroma_width(8), format.chroma_height(8)]
    return f"yuv{'444' if depth and subsampling in ('411', '410', '440') else subsampling}p{depth}"
