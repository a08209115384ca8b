"""Appearance of the clips of a sample: parameters of color jitter, grayscale and blur, drawn on the CPU.

:mod:`vicc_ray.video.device_transforms` applies them on the training device. V clips per sample, P parameters.
"""

from __future__ import annotations

import numpy as np

from vicc_ray.config import ClipConfig

APPEARANCE = (
    *("jitter", "brightness", "contrast", "saturation", "hue"),
    *("gray", "channel", "sigma", "jitter_order", "channel_seed"),
)
"""Columns of the drawn parameters: jitter and gray are 0 or 1, sigma is 0 without blur.

jitter_order is an index into :data:`vicc_ray.video.device_transforms.JITTER_ORDERS`. channel_seed is 0 where one
channel is repeated in all frames of a gray clip, else the seed of the channels of its frames.
"""
NUM_JITTER_ORDERS = 24
"""Orders of brightness, contrast, saturation and hue."""
MAX_SEED = 1 << 24
"""float32 holds whole numbers up to this one exactly."""


def draw_sample_appearance(rng: np.random.Generator, clip: ClipConfig, views: int, one_clip: bool) -> np.ndarray:
    """Draw the appearance of all clips of a sample, float32 [V, P].

    Args:
        one_clip: whether all views are of the same frames.
    """
    drawn = np.stack([draw_appearance(rng, clip) for _ in range(views)])
    if clip.jitter_order == "random":
        drawn[:, APPEARANCE.index("jitter_order")] = rng.integers(0, NUM_JITTER_ORDERS, views)
    if clip.grayscale_per_frame:
        drawn[:, APPEARANCE.index("channel_seed")] = rng.integers(1, MAX_SEED, views)
    drawn[~_colored(rng, clip, views, one_clip)] = plain_appearance()
    return drawn


def draw_appearance(rng: np.random.Generator, clip: ClipConfig) -> np.ndarray:
    """Draw the appearance of one colored clip, float32 [P]."""
    factors = [1 + rng.uniform(-s, s) for s in (clip.brightness, clip.contrast, clip.saturation)]
    jitter, gray, blur = rng.random(3) < (clip.jitter_prob, clip.grayscale_prob, clip.blur_prob)
    hue, channel, sigma = rng.uniform(-clip.hue, clip.hue), rng.integers(0, 3), rng.uniform(*clip.blur_sigma)
    return np.array([jitter, *factors, hue, gray, channel, sigma if blur else 0.0, 0.0, 0.0], np.float32)


def plain_appearance() -> np.ndarray:
    """Appearance of a clip that is shown as it is, float32 [P]."""
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
    return np.array([neutral.get(name, 0.0) for name in APPEARANCE], np.float32)


def _colored(rng: np.random.Generator, clip: ClipConfig, views: int, one_clip: bool) -> np.ndarray:
    """Whether each clip is colored, bool [V]. A single clip of a sample always is: its probabilities say all."""
    colored = np.ones(views, bool)
    if views == 1:
        return colored
    if one_clip and clip.same_clip_colored == "one":
        colored[:] = np.arange(views) == rng.integers(0, views)
    if not one_clip and clip.two_clips_color_prob < 1:
        colored[:] = rng.random(views) < clip.two_clips_color_prob
    return colored
