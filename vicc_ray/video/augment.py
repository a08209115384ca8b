"""Geometric augmentation of a clip on the CPU, one draw for its RGB and its flow. T frames, S clip side.

Appearance (jitter, grey, blur) is only drawn here, from the same generator, and applied later on the training device;
see :mod:`vicc_ray.training.appearance`.
"""

from __future__ import annotations

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


def draw_crop(rng: np.random.Generator, height: int, width: int, clip: ClipConfig) -> Crop:
    """A random resized crop within ``clip.crop_area`` and ``clip.crop_aspect``; falls back to the largest that fits."""
    flip = bool(rng.random() < clip.flip)
    for _ in range(10):
        area = rng.uniform(*clip.crop_area) * height * width
        aspect = np.exp(rng.uniform(*np.log(clip.crop_aspect)))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w, flip)
    return centre_crop(height, width, flip)


def centre_crop(height: int, width: int, flip: bool = False) -> Crop:
    """The largest centred square."""
    side = min(height, width)
    return Crop((height - side) // 2, (width - side) // 2, side, side, flip)


def crop_rgb(frames: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> uint8 [T, S, S, 3]."""
    return _resized(frames, crop, size)


def crop_flow(flow: np.ndarray, crop: Crop, size: int, rescale: bool = False) -> np.ndarray:
    """Quantised flow, uint8 [T, H, W, 2] -> uint8 [T, S, S, 2].

    A mirrored clip moves the other way: its horizontal component is negated (128 stays 128). With ``rescale``
    displacements are in pixels of the resized crop; without, they stay in pixels of the stored frame.
    """
    out = _resized(flow, crop, size)
    gain = np.array([-1.0 if crop.flip else 1.0, 1.0])
    if rescale:
        gain *= size / np.array([crop.width, crop.height])
    return _scaled(out, gain)


def _scaled(flow: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Quantised flow times a gain for each component; no motion (128) stays no motion."""
    levels = np.arange(256)[:, None] - 128.0
    table = (np.clip(np.round(levels * gain), -127, 127) + 128).astype(np.uint8)
    return np.stack([table[:, k][flow[..., k]] for k in range(2)], axis=-1)


def _resized(frames: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    out = np.empty((len(frames), size, size, frames.shape[-1]), np.uint8)
    rows, columns = slice(crop.top, crop.top + crop.height), slice(crop.left, crop.left + crop.width)
    for i, frame in enumerate(frames):
        cv2.resize(frame[rows, columns], (size, size), dst=out[i], interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(out[:, :, ::-1]) if crop.flip else out


def draw_appearance(rng: np.random.Generator, clip: ClipConfig) -> np.ndarray:
    """Parameters of one clip's colour jitter, grey and blur, float32 [len(APPEARANCE)]."""
    factors = [1 + rng.uniform(-s, s) for s in (clip.brightness, clip.contrast, clip.saturation)]
    jitter, grey, blur = rng.random(3) < (clip.jitter, clip.grey, clip.blur)
    hue, channel, sigma = rng.uniform(-clip.hue, clip.hue), rng.integers(0, 3), rng.uniform(*clip.blur_sigma)
    return np.array([jitter, *factors, hue, grey, channel, sigma if blur else 0.0], np.float32)
