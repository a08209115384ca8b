"""Video file -> the windows that a network sees, stretch by stretch, in bounded memory; nothing here needs torch.

A stretch is :data:`STRETCH` frames. A video that is no longer gives the windows of the evaluation
(:func:`vicc_ray.video.clip_sampling.windows`); a longer one gives those of each stretch, so that they stand as closely
however long it is. n windows, t frames, T frames of a window, S side of a window, D side of a decoded frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.search.thumbnail import SIDE, make_film
from vicc_ray.search.window_spec import View
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.containers import ANY
from vicc_ray.video.decode import open_frames
from vicc_ray.video.formats import Formats
from vicc_ray.video.transforms import center_crop

STRETCH = 1000
"""Frames: 40 s at 25 frames a second, and 49 MB at 128 x 128."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class WindowChunk:
    """What is seen of one stretch.

    Attributes:
        frames: uint8 [t, S, S, 3] RGB, each that some window has, once.
        places: int64 [n, T], the windows, as places in ``frames``.
        spans: float32 [n, 2], begin and end of each window in seconds of the video.
        seconds: how long the video is up to the end of this stretch.
        film: the video's moving thumbnail, made of its first stretch; empty in the later ones.
    """

    frames: Pixels
    places: NDArray[np.int64]
    spans: NDArray[np.float32]
    seconds: float
    film: bytes

    def clips(self, start: int, stop: int) -> Pixels:
        """Some of the windows, uint8 [n, T, S, S, 3]."""
        return self.frames[self.places[start:stop]]


def read_pieces(
    source: Path | bytes, view: View, timeout_s: float, film: bool = True, formats: Formats = ANY
) -> Iterator[WindowChunk]:
    """What is seen of a video, a file or its bytes, as it is decoded; a stretch is held at a time.

    Args:
        film: whether the thumbnail is made.
        formats: which containers and codecs it may have.

    Raises:
        VideoError: it gives no two frames, or takes too long (what is done with the pieces in between counts).
    """
    side = max(view.size, SIDE)
    even, most = side + side % 2, view.max_frames
    with open_frames(source, short_side=even, max_frames=most, timeout_s=timeout_s, grid=2, formats=formats) as stream:
        fps = 0.0
        for first, frames in _stretches((_square(frame) for frame in stream.frames), view.extent):
            fps = fps or stream.fps  # measured once, over the first stretch: the later ones must follow it
            yield _piece(first, frames, fps, view, film)
            film = False


def _stretches(frames: Iterable[Pixels], extent: int) -> Iterator[tuple[int, list[Pixels]]]:
    """Number of the first frame, and the frames, of each stretch.

    A rest that is shorter than a window is seen together with frames before it.
    """
    first, held, before = 0, list[Pixels](), list[Pixels]()
    for frame in frames:
        if len(held) == STRETCH:
            yield first, held
            first, held, before = first + STRETCH, [], held[-extent:]
        held.append(frame)
    missing = min(max(0, extent - len(held)), len(before))
    yield first - missing, before[len(before) - missing :] + held


def _piece(first: int, frames: list[Pixels], fps: float, view: View, film: bool) -> WindowChunk:
    spans = windows(len(frames), view.frames, view.step, view.overlap, view.max_windows)
    used, places = np.unique(spans, return_inverse=True)  # windows overlap: each frame is scaled once
    seen = np.stack([_scaled(frames[index], view.size) for index in used])
    seconds = (first + np.stack([spans.min(1), spans.max(1) + 1], axis=1)) / fps
    return WindowChunk(
        frames=seen,
        places=places.reshape(spans.shape).astype(np.int64),
        spans=seconds.astype(np.float32),
        seconds=(first + len(frames)) / fps,
        film=make_film(frames, fps) if film else b"",
    )


def _square(frame: Pixels) -> Pixels:
    """The centre, uint8 [D, D, 3]; a copy, since the rest of the frame is not kept."""
    crop = center_crop(frame.shape[0], frame.shape[1], grid=2)
    return frame[crop.window(1)].copy()


def _scaled(frame: Pixels, size: int) -> Pixels:
    if frame.shape[0] == size:
        return frame
    return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
