"""Optical flow as colour: the hue is the direction, the strength of the colour is the speed.

The wheel is that of Baker et al., "A Database and Evaluation Methodology for Optical Flow" (2007): 55 hues, spaced so
that equal steps look equally far apart. No motion is white.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPANS = (15, 6, 4, 11, 13, 6)
"""Hues from red to yellow, to green, to cyan, to blue, to magenta, and back to red."""


def colour_wheel() -> NDArray[np.float32]:
    """The hues [55, 3], RGB in 0..1, in order of the direction."""
    corners = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], dtype=np.float32)
    spans = [
        corners[i] + np.arange(count, dtype=np.float32)[:, None] / count * (corners[(i + 1) % 6] - corners[i])
        for i, count in enumerate(SPANS)
    ]
    return np.concatenate(spans)


WHEEL = colour_wheel()


def flow_to_colour(flow: NDArray[np.floating], full: float) -> NDArray[np.uint8]:
    """Colours uint8 [..., 3] of a flow [..., 2] (u to the right, v downwards).

    Args:
        full: the speed, in the unit of the flow, at which the colour is at its strongest; faster motion looks the same.
    """
    u, v = flow[..., 0].astype(np.float32) / full, flow[..., 1].astype(np.float32) / full
    speed = np.minimum(np.hypot(u, v), 1.0)[..., None]
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * len(WHEEL)
    below = np.floor(place).astype(int)
    part = (place - below)[..., None]
    hue = (1 - part) * WHEEL[below % len(WHEEL)] + part * WHEEL[(below + 1) % len(WHEEL)]
    return np.rint(255 * (1 - speed * (1 - hue))).astype(np.uint8)


def legend(size: int = 128) -> NDArray[np.uint8]:
    """The wheel as a picture RGBA uint8 [size, size, 4]: each point has the colour of motion from the centre to it."""
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    flow = np.stack(np.meshgrid(grid, grid), axis=-1)
    radius = np.hypot(flow[..., 0], flow[..., 1])
    edge = np.clip((1 - radius) * size / 2, 0, 1) * 255
    return np.concatenate([flow_to_colour(flow, 1.0), np.rint(edge)[..., None].astype(np.uint8)], axis=-1)


def fast_speed(flow: NDArray[np.floating]) -> float:
    """The speed that 99 in 100 of a flow [T, H, W, 2] stay below, in its unit."""
    return float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99))
