"""Geometric augmentation of a clip on the CPU, one draw for its RGB and its flow. T frames, S clip side.

Appearance (jitter, grey, blur) is only drawn here, from the same generator, and applied later on the training device;
see :mod:`vicc_ray.training.appearance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vicc_ray.config import ClipConfig

APPEARANCE = ("jitter", "brightness", "contrast", "saturation", "hue", "grey", "channel", "sigma")
"""Columns of the drawn appearance parameters: jitter and grey are 0 or 1, sigma is 0 where there is no blur."""


@dataclass(frozen=True)
class Crop:
    """A crop in pixels of the stored frame and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_crop(rng: np.random.Generator, height: int, width: int, clip: ClipConfig, grid: int) -> Crop:
    """A random resized crop within ``clip.crop_area`` and ``clip.crop_aspect``; falls back to the largest that fits.

    All four sides are multiples of ``grid``, as the stored frames' are: so chroma and flow are cut at whole pixels.
    """
    flip = bool(rng.random() < clip.flip)
    for _ in range(10):
        area = rng.uniform(*clip.crop_area) * height * width
        aspect = np.exp(rng.uniform(*np.log(clip.crop_aspect)))
        w, h = (grid * round(float(side) / grid) for side in (np.sqrt(area * aspect), np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            top, left = (grid * int(rng.integers(0, free // grid + 1)) for free in (height - h, width - w))
            return Crop(top, left, h, w, flip)
    return centre_crop(height, width, grid, flip)


def centre_crop(height: int, width: int, grid: int, flip: bool = False) -> Crop:
    """The largest centred square; its corner lies on the grid."""
    side = min(height, width)
    top, left = (grid * ((free - side) // 2 // grid) for free in (height, width))
    return Crop(top, left, side, side, flip)


def crop_rgb(planes: Sequence[np.ndarray], crop: Crop, out: np.ndarray) -> None:
    """T frames as I420 planes, uint8 [3 H / 2, W] each -> RGB in ``out``, uint8 [T, S, S, 3].

    The planes are resized before they are made into colours: half the bytes, and colours of S x S pixels only.
    """
    size = out.shape[1]
    resized = np.empty((size * 3 // 2, size), np.uint8)
    chroma = resized[size:].reshape(2, size // 2, size // 2)
    for n, frame in enumerate(planes):
        height, width = frame.shape[0] * 2 // 3, frame.shape[1]
        halves = frame[height:].reshape(2, height // 2, width // 2)
        _resize(frame[:height], crop, 1, resized[:size])
        for k in range(2):
            _resize(halves[k], crop, 2, chroma[k])
        cv2.cvtColor(resized, cv2.COLOR_YUV2RGB_I420, dst=out[n])


def crop_flow(
    fields: Sequence[np.ndarray], crop: Crop, out: np.ndarray, flow_scale: int = 1, rescale: bool = False
) -> None:
    """T fields of quantised flow, u beside v, uint8 [H / s, 2 W / s] each, s = ``flow_scale`` -> ``out``.

    A mirrored clip moves the other way: its horizontal component is negated (128 stays 128). With ``rescale``
    displacements are in pixels of the resized crop; without, they stay in pixels of the stored frame.

    Args:
        out: uint8 [T, S, S, 2].
    """
    gains = [-1.0 if crop.flip else 1.0, 1.0]
    if rescale:
        gains = [gains[0] * out.shape[2] / crop.width, gains[1] * out.shape[1] / crop.height]
    tables = [_scaled(gain) if gain != 1.0 else None for gain in gains]
    resized = np.empty((2, *out.shape[1:3]), np.uint8)
    for n, field in enumerate(fields):
        width = field.shape[1] // 2
        for k, table in enumerate(tables):
            _resize(field[:, k * width : (k + 1) * width], crop, flow_scale, resized[k])
            if table is not None:
                cv2.LUT(resized[k], table, dst=resized[k])
        cv2.merge(list(resized), dst=out[n])


def _scaled(gain: float) -> np.ndarray:
    """What each quantised value becomes when the flow is multiplied by ``gain``; no motion (128) stays no motion."""
    levels = np.arange(256) - 128.0
    return (np.clip(np.round(levels * gain), -127, 127) + 128).astype(np.uint8)


def _resize(image: np.ndarray, crop: Crop, scale: int, out: np.ndarray) -> None:
    """The crop of an image that is stored ``scale`` times smaller, resized and mirrored into ``out``."""
    top, left, height, width = (side // scale for side in (crop.top, crop.left, crop.height, crop.width))
    part = image[top : top + height, left : left + width]
    cv2.resize(part, out.shape[1::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    if crop.flip:
        cv2.flip(out, 1, dst=out)


def draw_appearance(rng: np.random.Generator, clip: ClipConfig) -> np.ndarray:
    """Parameters of one clip's colour jitter, grey and blur, float32 [len(APPEARANCE)]."""
    factors = [1 + rng.uniform(-s, s) for s in (clip.brightness, clip.contrast, clip.saturation)]
    jitter, grey, blur = rng.random(3) < (clip.jitter, clip.grey, clip.blur)
    hue, channel, sigma = rng.uniform(-clip.hue, clip.hue), rng.integers(0, 3), rng.uniform(*clip.blur_sigma)
    return np.array([jitter, *factors, hue, grey, channel, sigma if blur else 0.0], np.float32)
