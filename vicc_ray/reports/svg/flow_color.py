"""Optical flow as color: the hue is the direction, the saturation is the speed.

Colors are those of torchvision, whose wheel is that of Baker et al., "A Database and Evaluation Methodology for Optical
Flow" (2007). No motion is white.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.utils import flow_to_image

BELOW_FULL = 1 - 1e-6
"""Keeps rounding from carrying a speed past the full one, where torchvision's uint8 colors would wrap around."""


def flow_to_color(flow: NDArray[np.floating], full: float) -> NDArray[np.uint8]:
    """Colors uint8 [..., 3] of a flow [..., 2] (u to the right, v downward).

    Args:
        full: the speed, in the unit of the flow, that gets full saturation. Faster motion gets the same color.
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])[..., None]
    clamped = (flow * (BELOW_FULL * full / np.maximum(speed, full))).reshape(-1, 2)
    # torchvision scales by the fastest pixel: one more pixel of full speed gives all pictures the same scale.
    pixels = torch.from_numpy(np.concatenate([clamped, [[full, 0]]]).astype(np.float32))
    colors = flow_to_image(pixels.T[:, None])[:, 0, :-1]
    return colors.T.reshape(*flow.shape[:-1], 3).numpy()


def legend(size: int = 128) -> NDArray[np.uint8]:
    """The color wheel as a picture RGBA uint8 [size, size, 4].

    Each point has the color of motion from the center to it; outside of the circle the picture is transparent.
    """
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    flow = np.stack(np.meshgrid(grid, grid), axis=-1)
    radius = np.hypot(flow[..., 0], flow[..., 1])
    edge = np.clip((1 - radius) * size / 2, 0, 1) * 255
    return np.concatenate([flow_to_color(flow, 1.0), np.rint(edge)[..., None].astype(np.uint8)], axis=-1)


def fast_speed(flow: NDArray[np.floating]) -> float:
    """The 99th percentile of the speeds of a flow [T, H, W, 2], in its unit."""
    return float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99))
