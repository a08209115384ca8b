"""Sampling of clips from a video's frames: two random clips for training, overlapping windows for testing. T frames."""

from __future__ import annotations

import zlib

import numpy as np

from vicc_ray.config import ShortVideos


def sample_rng(seed: int, epoch: int, video_id: str) -> np.random.Generator:
    """Random generator of one sample, a function of (seed, epoch, id) and not of the worker that decodes it."""
    return np.random.default_rng([seed, epoch, zlib.crc32(video_id.encode())])


def sample_two_clips(
    rng: np.random.Generator,
    frames: int,
    length: int,
    frame_stride: int,
    same_clip_prob: float,
    short_videos: ShortVideos = "loop",
) -> tuple[np.ndarray, bool]:
    """Draw the frame indices of two clips of a video, and whether the second is the first again.

    Args:
        frames: number of frames of the video, at least 1.
        length: frames per clip.
        frame_stride: distance between the frames of a clip.
        same_clip_prob: probability that both clips have the same frames.
        short_videos: what fills the clip of a shorter video (``clip.short_videos``).

    Returns:
        int64 [2, length]; true with ``same_clip_prob``.
    """
    last = max(0, frames - ((length - 1) * frame_stride + 1))
    first, second = rng.integers(0, last + 1, size=2)
    one_clip = bool(rng.random() < same_clip_prob)
    starts = (first, first if one_clip else second)
    return np.stack([_span(start, frames, length, frame_stride, short_videos) for start in starts]), one_clip


def windows(
    frames: int,
    length: int,
    frame_stride: int,
    overlap: float,
    max_windows: int,
    short_videos: ShortVideos = "loop",
) -> np.ndarray:
    """Frame indices of the test windows of a video.

    Windows overlap by ``overlap`` (in [0, 1)) and cover the video to its end. With a limit of ``max_windows``, they are
    spaced evenly. A video shorter than a window gives one window.

    Returns:
        int64 [n, length], n from 1 to ``max_windows``.
    """
    extent = (length - 1) * frame_stride + 1
    last = max(0, frames - extent)
    stride = max(1, round(extent * (1 - overlap)))
    count = min(max_windows, last // stride + 1 + (last % stride > 0))
    starts = np.linspace(0, last, count).round().astype(np.int64) if count > 1 else np.array([last // 2])
    return np.stack([_span(start, frames, length, frame_stride, short_videos) for start in starts])


def every_window(frames: int, length: int, frame_stride: int, step: int, short_videos: ShortVideos) -> np.ndarray:
    """Frame indices of the test windows that start at every ``step``-th frame and fit in: int64 [n, length].

    A video shorter than a window gives one window.
    """
    last = max(0, frames - ((length - 1) * frame_stride + 1))
    return np.stack([_span(start, frames, length, frame_stride, short_videos) for start in range(0, last + 1, step)])


def _span(start: int, frames: int, length: int, frame_stride: int, short_videos: ShortVideos) -> np.ndarray:
    indices = start + frame_stride * np.arange(length, dtype=np.int64)
    missing = int(indices[-1]) + 1 - frames
    if short_videos == "repeat_first" and missing > 0:
        return np.maximum(indices - missing, 0)
    return indices % frames
