"""Windows of a video file for a network, read in stretches with bounded memory. Needs no torch.

A stretch has :data:`STRETCH` frames. The windows of each are those of the evaluation
(:func:`vicc_ray.video.clip_sampling.windows`), so their density does not depend on the length of the video.
n windows, t frames, T frames of a window, S side of a window, D side of a decoded frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.search.thumbnail import SIDE, make_thumbnail
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.containers import ANY
from vicc_ray.video.decode import open_frames
from vicc_ray.video.formats import Formats
from vicc_ray.video.transforms import center_crop

STRETCH = 1000
"""Frames; 40 s at 25 frames per second, 49 MB at 128 x 128 pixels."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class WindowChunk:
    """Windows of one stretch.

    Attributes:
        frames: uint8 [t, S, S, 3] RGB, every frame that some window uses, once.
        places: int64 [n, T], the windows as positions in ``frames``.
        spans: float32 [n, 2], start and end of each window in seconds of the video.
        seconds: time in the video at the end of this stretch.
        thumbnail: animated thumbnail, made from the first stretch; empty in later ones.
    """

    frames: Pixels
    places: NDArray[np.int64]
    spans: NDArray[np.float32]
    seconds: float
    thumbnail: bytes

    def clips(self, start: int, stop: int) -> Pixels:
        """Clips of a range of windows, uint8 [n, T, S, S, 3]."""
        return self.frames[self.places[start:stop]]


def read_window_chunks(
    source: Path | bytes, spec: WindowSpec, timeout_s: float, thumbnail: bool = True, formats: Formats = ANY
) -> Iterator[WindowChunk]:
    """Chunks of a video, from a file or its bytes, while it is decoded; one stretch is in memory at a time.

    Args:
        timeout_s: limit that includes the time the caller spends between chunks.
        thumbnail: whether to make the thumbnail.
        formats: allowed containers and codecs.

    Raises:
        VideoError: fewer than two frames can be decoded, or the time limit is exceeded.
    """
    side = max(spec.size, SIDE)
    even, most = side + side % 2, spec.max_frames
    whole = 2 * round(even / spec.crop_share / 2)
    with open_frames(source, short_side=whole, max_frames=most, timeout_s=timeout_s, grid=2, formats=formats) as stream:
        fps = 0.0
        for first, frames in _stretches((_square(frame, even) for frame in stream.frames), spec.extent):
            fps = fps or stream.fps  # measured once, on the first stretch, for consistent times
            yield _chunk(first, frames, fps, spec, thumbnail)
            thumbnail = False


def _stretches(frames: Iterable[Pixels], extent: int) -> Iterator[tuple[int, list[Pixels]]]:
    """Number of the first frame, and the frames, of each stretch.

    A remainder that is shorter than a window is extended by frames before it.
    """
    first, stretch, before = 0, list[Pixels](), list[Pixels]()
    for frame in frames:
        if len(stretch) == STRETCH:
            yield first, stretch
            first, stretch, before = first + STRETCH, [], stretch[-extent:]
        stretch.append(frame)
    missing = min(max(0, extent - len(stretch)), len(before))
    yield first - missing, before[len(before) - missing :] + stretch


def _chunk(first: int, frames: list[Pixels], fps: float, spec: WindowSpec, thumbnail: bool) -> WindowChunk:
    spans = windows(len(frames), spec.frames, spec.step, spec.overlap, spec.max_windows)
    used, places = np.unique(spans, return_inverse=True)  # windows overlap: each frame is scaled once
    scaled = np.stack([_scaled(frames[index], spec.size) for index in used])
    seconds = (first + np.stack([spans.min(1), spans.max(1) + 1], axis=1)) / fps
    return WindowChunk(
        frames=scaled,
        places=places.reshape(spans.shape).astype(np.int64),
        spans=seconds.astype(np.float32),
        seconds=(first + len(frames)) / fps,
        thumbnail=make_thumbnail(frames, fps) if thumbnail else b"",
    )


def _square(frame: Pixels, side: int) -> Pixels:
    """Center crop, uint8 [D, D, 3] with D = ``side``; a copy, so that the frame can be freed."""
    crop = center_crop(frame.shape[0], frame.shape[1], grid=2, side=side)
    return frame[crop.window(1)].copy()


def _scaled(frame: Pixels, size: int) -> Pixels:
    if frame.shape[0] == size:
        return frame
    return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
