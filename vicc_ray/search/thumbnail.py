"""Animated thumbnails: two seconds of a video as a small silent H.264 MP4, which every browser plays.

``benchmarks/search.py`` compares it with other formats. t frames, D side of a frame.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vicc_ray.video import codec

SIDE = 112
"""Height and width in pixels."""
RATE = 12
"""Frames per second."""
FRAMES = 24
CRF = 24
"""Rate factor of x264."""
MAX_THUMBNAIL_BYTES = 2**20
"""Largest thumbnail that is accepted from an untrusted source; ours have about 10 KB."""
MEDIA_TYPE = "video/mp4"


def thumbnail_frames(frames: int, fps: float) -> NDArray[np.int64]:
    """Indices of the shown frames, at most :data:`FRAMES`, around the middle of the video, at real-time speed."""
    step = fps / RATE
    count = max(1, min(FRAMES, int((frames - 1) / step) + 1))
    start = (frames - 1 - (count - 1) * step) / 2
    return np.rint(start + step * np.arange(count)).astype(np.int64)


def make_thumbnail(frames: Sequence[NDArray[np.uint8]], fps: float) -> bytes:
    """MP4 file of square frames, t arrays uint8 [D, D, 3]."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.height = stream.width = SIDE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, RATE)
        stream.options = {"crf": str(CRF), "preset": "slow", "x264-params": f"{codec.REPRODUCIBLE}:log=-1"}
        for index in thumbnail_frames(len(frames), fps):
            picture = cv2.resize(frames[index], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", threads=1)))
        container.mux(stream.encode(None))
    return out.getvalue()
