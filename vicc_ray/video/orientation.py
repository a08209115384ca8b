"""Orientation of frames by the display matrix of their stream. Shapes: H height, W width."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Orientation = tuple[int, int, int, int]
"""Linear part (a, b, c, d) of a rotation by multiples of 90 degrees with or without a flip: the pixel at (x, y) is
shown at (a x + c y, b x + d y) (FFmpeg, libavutil/display.h)."""
UPRIGHT: Orientation = (1, 0, 0, 1)
KINDS_OF_SIDE_DATA = 64
"""Upper bound of the number of side data types in FFmpeg."""


def display_orientation(frame: VideoFrame) -> Orientation:
    """Display matrix of a frame, rounded to the nearest orientation."""
    data = _display_matrix(frame)
    if data is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].astype(np.int64)
    if abs(a) >= abs(b):
        return (1 if a >= 0 else -1), 0, 0, (1 if d >= 0 else -1)
    return 0, (1 if b >= 0 else -1), (1 if c >= 0 else -1), 0


def _display_matrix(frame: VideoFrame) -> bytes | None:
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV rejects all side data of a frame if one type is unknown to it
        data = _without_unknown_side_data(frame).side_data.get("DISPLAYMATRIX")
    return bytes(data) if isinstance(data, SideData) else None


def _without_unknown_side_data(frame: VideoFrame) -> VideoFrame:
    """The frame without the side data types that PyAV does not know."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    filters = [
        graph.add("sidedata", mode="delete", type=str(kind))
        for kind in range(KINDS_OF_SIDE_DATA)
        if not _is_known(kind)
    ]
    graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def _is_known(kind: int) -> bool:
    try:
        Type(kind)
    except ValueError:
        return False
    return True


def orient(image: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    """Rotate and flip an image uint8 [H, W, 3] as it is displayed: [H, W, 3] or [W, H, 3]."""
    a, b, c, d = orientation
    if b:
        image = image.transpose(1, 0, 2)
    if a + c < 0:
        image = image[:, ::-1]
    if b + d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
