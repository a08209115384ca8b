"""Geometric augmentation of a clip on the CPU, one draw for its RGB and its flow. T frames, S clip side.

Appearance (jitter, grey, blur) is only drawn here, from the same generator, and applied later on the training device;
see :mod:`vicc_ray.video.device_transforms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vicc_ray.config import ClipConfig

APPEARANCE = ("jitter", "brightness", "contrast", "saturation", "hue", "gray", "channel", "sigma")
"""Columns of the drawn appearance parameters: jitter and grey are 0 or 1, sigma is 0 where there is no blur."""
TEN_CROP_SIDE = 7 / 8
"""Of the short side: 224 of 256, as the field takes ten crops."""


@dataclass(frozen=True)
class Crop:
    """A crop in pixels of the stored frame and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def window(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns in an image that is stored ``scale`` times smaller."""
        top, left = self.top // scale, self.left // scale
        return slice(top, top + self.height // scale), slice(left, left + self.width // scale)


def draw_crop(rng: np.random.Generator, height: int, width: int, clip: ClipConfig, grid: int) -> Crop:
    """A random resized crop within ``clip.crop_scale`` and ``clip.crop_ratio``; falls back to the largest that fits.

    All four sides are multiples of ``grid``, as the stored frames' are: so chroma and flow are cut at whole pixels.
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


def center_crop(height: int, width: int, grid: int, flip: bool = False) -> Crop:
    """The largest centred square; its corner lies on the grid."""
    side = min(height, width)
    top, left = (grid * ((free - side) // 2 // grid) for free in (height, width))
    return Crop(top, left, side, side, flip)


def ten_crops(height: int, width: int, grid: int) -> list[Crop]:
    """Centre and corners, squares of ``TEN_CROP_SIDE`` of the short side, then their mirror images; on the grid."""
    side = max(grid, grid * int(TEN_CROP_SIDE * min(height, width) / grid))
    down, right = height - side, width - side
    center = tuple(grid * (free // 2 // grid) for free in (down, right))
    corners = [center, (0, 0), (0, right), (down, 0), (down, right)]
    return [Crop(top, left, side, side, flip) for flip in (False, True) for top, left in corners]


class RgbCropper:
    """Crops frames by one crop to S x S; what it works in is allocated once for all of them.

    Planes are resized before they are made into colours: half the bytes, and colours of S x S pixels only.
    """

    def __init__(self, crop: Crop, size: int) -> None:
        self._resized = np.empty((size * 3 // 2, size), np.uint8)
        chroma = self._resized[size:].reshape(2, size // 2, size // 2)
        self._into = (self._resized[:size], *chroma)
        self._windows = (crop.window(1), crop.window(2), crop.window(2))
        self._flip = crop.flip

    def crop(self, planes: Sequence[np.ndarray], out: np.ndarray) -> None:
        """Y [H, W], U and V [H / 2, W / 2] -> RGB in ``out``, uint8 [S, S, 3]."""
        for plane, window, into in zip(planes, self._windows, self._into, strict=True):
            _resize(plane[window], into)
        cv2.cvtColor(self._resized, cv2.COLOR_YUV2RGB_I420, dst=out)
        if self._flip:
            cv2.flip(out, 1, dst=out)


class FlowCropper:
    """Crops quantised flow, stored ``scale`` times smaller than the frames, by one crop to S x S.

    A mirrored clip moves the other way: its horizontal component is negated (128 stays 128). With ``rescale``
    displacements are in pixels of the resized crop; without, they stay in pixels of the stored frame.
    """

    def __init__(self, crop: Crop, size: int, scale: int = 1, rescale: bool = False) -> None:
        gains = [-1.0 if crop.flip else 1.0, 1.0]
        if rescale:
            gains = [gains[0] * size / crop.width, gains[1] * size / crop.height]
        self._tables = [_scaled(gain) if gain != 1.0 else None for gain in gains]
        self._into = [np.empty((size, size), np.uint8) for _ in range(2)]
        self._window, self._flip = crop.window(scale), crop.flip

    def crop(self, field: np.ndarray, out: np.ndarray) -> None:
        """u, and v to its right, [H / s, 2 W / s] -> ``out``, uint8 [S, S, 2]."""
        half = field.shape[1] // 2
        for component, table, into in zip((field[:, :half], field[:, half:]), self._tables, self._into, strict=True):
            _resize(component[self._window], into)
            if table is not None:
                cv2.LUT(into, table, dst=into)
        cv2.merge(self._into, dst=out)
        if self._flip:
            cv2.flip(out, 1, dst=out)


def _scaled(gain: float) -> np.ndarray:
    """What each quantised value becomes when the flow is multiplied by ``gain``; no motion (128) stays no motion."""
    levels = np.arange(256) - 128.0
    return (np.clip(np.round(levels * gain), -127, 127) + 128).astype(np.uint8)


def _resize(part: np.ndarray, out: np.ndarray) -> None:
    cv2.resize(part, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def draw_appearance(rng: np.random.Generator, clip: ClipConfig) -> np.ndarray:
    """Parameters of one clip's colour jitter, grey and blur, float32 [len(APPEARANCE)]."""
    factors = [1 + rng.uniform(-s, s) for s in (clip.brightness, clip.contrast, clip.saturation)]
    jitter, gray, blur = rng.random(3) < (clip.jitter_prob, clip.grayscale_prob, clip.blur_prob)
    hue, channel, sigma = rng.uniform(-clip.hue, clip.hue), rng.integers(0, 3), rng.uniform(*clip.blur_sigma)
    return np.array([jitter, *factors, hue, gray, channel, sigma if blur else 0.0], np.float32)
