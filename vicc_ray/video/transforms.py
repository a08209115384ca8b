"""Random crops and flips on the CPU, equal for the RGB and the flow of a clip. T frames, S clip side.

Color jitter, grayscale and blur follow on the training device: :mod:`vicc_ray.video.appearance`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vicc_ray.config import ClipConfig, Interpolation

INTERPOLATION: dict[Interpolation, int] = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


@dataclass(frozen=True)
class Crop:
    """A crop in pixels of the stored frame, and whether it is flipped horizontally."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def window(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns of the crop in an image that is ``scale`` times smaller."""
        top, left = self.top // scale, self.left // scale
        return slice(top, top + self.height // scale), slice(left, left + self.width // scale)


def draw_crop(rng: np.random.Generator, height: int, width: int, clip: ClipConfig, grid: int) -> Crop:
    """Draw a random resized crop within ``clip.crop_scale`` and ``clip.crop_ratio``; falls back to the center crop.

    Position and size are multiples of ``grid``, as the stored frames' size is, so that chroma and flow are cropped at
    whole pixels.
    """
    flip = bool(rng.random() < clip.flip_prob)
    for _ in range(10):
        area = rng.uniform(*clip.crop_scale) * height * width
        aspect = np.exp(rng.uniform(*np.log(clip.crop_ratio)))
        w, h = (grid * round(float(side) / grid) for side in (np.sqrt(area * aspect), np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            top, left = (grid * int(rng.integers(0, free // grid + 1)) for free in (height - h, width - w))
            return Crop(top, left, h, w, flip)
    return center_crop(height, width, grid, flip)


def center_crop(height: int, width: int, grid: int, flip: bool = False, side: int | None = None) -> Crop:
    """Centered square of ``side`` pixels, by default the largest; its corner is on the grid."""
    side = side or min(height, width)
    top, left = (grid * ((free - side) // 2 // grid) for free in (height, width))
    return Crop(top, left, side, side, flip)


def crop_side(height: int, width: int, grid: int, share: float) -> int:
    """Side on the grid of a square of ``share`` of the short side, rounded down."""
    return max(grid, grid * math.floor(share * min(height, width) / grid + 1e-9))


def ten_crops(height: int, width: int, grid: int, share: float) -> list[Crop]:
    """Ten crops on the grid: squares of ``share`` of the short side at the center and corners, then flipped."""
    side = crop_side(height, width, grid, share)
    down, right = height - side, width - side
    center = tuple(grid * (free // 2 // grid) for free in (down, right))
    corners = [center, (0, 0), (0, right), (down, 0), (down, right)]
    return [Crop(top, left, side, side, flip) for flip in (False, True) for top, left in corners]


class RgbCropper:
    """Crops frames and resizes them to S x S; buffers are allocated once for all frames.

    YUV planes are resized before the conversion to RGB: they have half the bytes, and only S x S pixels are converted.
    """

    def __init__(self, crop: Crop, size: int, interpolation: Interpolation = "bilinear") -> None:
        self._interpolation = INTERPOLATION[interpolation]
        self._resized = np.empty((size * 3 // 2, size), np.uint8)
        chroma = self._resized[size:].reshape(2, size // 2, size // 2)
        self._targets = (self._resized[:size], *chroma)
        self._windows = (crop.window(1), crop.window(2), crop.window(2))
        self._flip = crop.flip

    def crop(self, planes: Sequence[np.ndarray], out: np.ndarray) -> None:
        """Crop Y [H, W], U and V [H / 2, W / 2] to RGB in ``out``, uint8 [S, S, 3]."""
        for plane, window, target in zip(planes, self._windows, self._targets, strict=True):
            cv2.resize(plane[window], target.shape[::-1], dst=target, interpolation=self._interpolation)
        cv2.cvtColor(self._resized, cv2.COLOR_YUV2RGB_I420, dst=out)
        if self._flip:
            cv2.flip(out, 1, dst=out)


class FlowCropper:
    """Crops quantized flow, stored ``scale`` times smaller than the frames, and resizes it to S x S.

    In a flipped clip the horizontal component is negated (128 stays 128) unless ``negate`` is false. With ``rescale``,
    displacements are in pixels of the resized crop; otherwise they stay in the unit of the store.
    """

    def __init__(
        self,
        crop: Crop,
        size: int,
        scale: int = 1,
        rescale: bool = False,
        negate: bool = True,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        self._interpolation = INTERPOLATION[interpolation]
        gains = [-1.0 if crop.flip and negate else 1.0, 1.0]
        if rescale:
            gains = [gains[0] * size / crop.width, gains[1] * size / crop.height]
        self._tables = [_scaled(gain) if gain != 1.0 else None for gain in gains]
        self._targets = [np.empty((size, size), np.uint8) for _ in range(2)]
        self._window, self._flip = crop.window(scale), crop.flip

    def crop(self, field: np.ndarray, out: np.ndarray) -> None:
        """Crop flow [H / s, 2 W / s], with v to the right of u, to ``out``, uint8 [S, S, 2]."""
        half = field.shape[1] // 2
        components = field[:, :half], field[:, half:]
        for component, table, target in zip(components, self._tables, self._targets, strict=True):
            part = component[self._window]
            cv2.resize(part, target.shape[::-1], dst=target, interpolation=self._interpolation)
            if table is not None:
                cv2.LUT(target, table, dst=target)
        cv2.merge(self._targets, dst=out)
        if self._flip:
            cv2.flip(out, 1, dst=out)


def _scaled(gain: float) -> np.ndarray:
    """Lookup table that multiplies quantized flow by ``gain``; no motion (128) stays 128."""
    levels = np.arange(256) - 128.0
    return (np.clip(np.round(levels * gain), -127, 127) + 128).astype(np.uint8)
