"""Evaluation protocol: the windows and crops that a video is tested with. n windows, T frames."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vicc_ray.config import ClipConfig, EvaluateConfig
from vicc_ray.models.input_convention import PUBLISHED_CROP_SHARE
from vicc_ray.video.clip_sampling import every_window, windows
from vicc_ray.video.transforms import Crop, center_crop, crop_side, ten_crops

Purpose = Literal["retrieval", "classification"]
PUBLISHED_WINDOW_STEP = 15
"""Frames from the start of a window to that of the next."""
TEN_CROP_SHARE = 7 / 8
"""Side of the standard protocol's ten crops as a fraction of the short side, as in the usual 224 of 256."""


def evaluation_windows(frames: int, clip: ClipConfig, evaluate: EvaluateConfig) -> np.ndarray:
    """Frame indices of a video's windows, int64 [n, T]."""
    if evaluate.protocol == "published":
        return every_window(frames, clip.frames, clip.frame_stride, PUBLISHED_WINDOW_STEP, clip.short_videos)
    limits = evaluate.window_overlap, evaluate.max_windows_per_video
    return windows(frames, clip.frames, clip.frame_stride, *limits, short_videos=clip.short_videos)


def evaluation_crops(height: int, width: int, grid: int, evaluate: EvaluateConfig, purpose: Purpose) -> list[Crop]:
    """Crops of every window of a video of height x width."""
    if evaluate.protocol == "published":
        if purpose == "classification":
            return ten_crops(height, width, grid, PUBLISHED_CROP_SHARE)
        side = crop_side(height, width, grid, PUBLISHED_CROP_SHARE)
        return [center_crop(height, width, grid, side=side)]
    if evaluate.crops == "ten":
        return ten_crops(height, width, grid, TEN_CROP_SHARE)
    return [center_crop(height, width, grid)]


def center_crop_share(evaluate: EvaluateConfig) -> float:
    """Side of the center crop of retrieval, as a fraction of the short side."""
    return PUBLISHED_CROP_SHARE if evaluate.protocol == "published" else 1.0


def protocol_of(crop_share: float) -> str:
    """``evaluate.protocol`` whose center crop is that of a network's weights file."""
    return "published" if crop_share == PUBLISHED_CROP_SHARE else "standard"


def protocol_text(evaluate: EvaluateConfig, purpose: Purpose) -> str:
    """Protocol of a figure, for reports."""
    if evaluate.protocol == "published":
        crops = "ten crops" if purpose == "classification" else "center crop"
        return f"published protocol: all windows, every {PUBLISHED_WINDOW_STEP} frames, {crops} of 14/15"
    crops = "ten crops of 7/8" if evaluate.crops == "ten" else "center crop"
    return (
        f"standard protocol: at most {evaluate.max_windows_per_video} windows overlapping by "
        f"{evaluate.window_overlap:.0%}, {crops}"
    )
