"""Which frames of a video make a clip: two clips for training, windows at a fixed overlap for testing. T frames."""

from __future__ import annotations

import zlib

import numpy as np


def sample_rng(seed: int, epoch: int, video_id: str) -> np.random.Generator:
    """The random draws of one sample: a function of (seed, epoch, id), never of the worker that decodes it."""
    return np.random.default_rng([seed, epoch, zlib.crc32(video_id.encode())])


def sample_two_clips(rng: np.random.Generator, frames: int, length: int, step: int, same_share: float) -> np.ndarray:
    """Frame indices of two clips of a video.

    Args:
        frames: frames of the video, at least 1; a video shorter than a clip is repeated from its start.
        length, step: frames of a clip and the distance between them.
        same_share: probability that both clips are the same frames.

    Returns:
        int64 [2, length].
    """
    last = max(0, frames - ((length - 1) * step + 1))
    first, second = rng.integers(0, last + 1, size=2)
    if rng.random() < same_share:
        second = first
    return np.stack([_span(start, frames, length, step) for start in (first, second)])


def windows(frames: int, length: int, step: int, overlap: float, max_windows: int) -> np.ndarray:
    """Frame indices of the test windows of a video.

    Windows overlap by ``overlap`` (0 to below 1) and reach the end of the video; of more than ``max_windows``, an even
    selection is kept. A video shorter than a window gives one window, repeated from its start.

    Returns:
        int64 [n, length], n from 1 to ``max_windows``.
    """
    extent = (length - 1) * step + 1
    last = max(0, frames - extent)
    stride = max(1, round(extent * (1 - overlap)))
    count = min(max_windows, last // stride + 1 + (last % stride > 0))
    starts = np.linspace(0, last, count).round().astype(np.int64) if count > 1 else np.array([last // 2])
    return np.stack([_span(start, frames, length, step) for start in starts])


def _span(start: int, frames: int, length: int, step: int) -> np.ndarray:
    return (start + step * np.arange(length, dtype=np.int64)) % frames
