"""Motion classes of the synthetic videos: how the pose of an object changes with time, and nothing else.

Every motion is stationary: whatever the class, the pose at any one moment has the same distribution (position uniform
on the frame, angle uniform, log-size uniform), because each motion starts at a uniform phase of a cycle that keeps that
distribution. So one frame says nothing about the class; only the change between frames does.
Classes do not differ by left against right, since training flips clips horizontally, and little by the amount of
motion: nearly every motion moves the surface of an object by ``speed`` a frame in the mean. (Where the amount differed,
it was all that a flow network learned: one principal component held 97 % of the variance of its features.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIZE_RANGE = (0.09, 0.30)
"""Smallest and largest radius of an object, as a share of the frame's side."""

DISC = 1.5
"""Speed of the rim of a turning disc over the mean speed of its surface."""
RESIZE = 4.5
"""Share of the size cycle that a growing object goes through a frame, over its speed: its surface moves at two thirds
of the speed of a sliding one, since a faster cycle would show little but its jumps back."""
DIAGONAL = 0.5**0.5


@dataclass(frozen=True)
class Path:
    """One object's free draws and its pose over time.

    Positions are in units of the frame's side and wrap around it with a margin; time is in frames.
    """

    x: float
    y: float
    angle: float
    size_phase: float
    speed: float
    period: float
    phase: float
    side: float


Pose = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""x, y (frame sides), angle (radians), radius (frame sides), each of shape [T]."""


def draw_path(rng: np.random.Generator) -> Path:
    """Draw what the class does not decide; positions uniform on the frame with its margin."""
    return Path(
        x=rng.uniform(0, 1),
        y=rng.uniform(0, 1),
        angle=rng.uniform(0, 2 * np.pi),
        size_phase=rng.uniform(0, 1),
        speed=rng.uniform(0.012, 0.020),
        period=rng.uniform(12, 18),
        phase=rng.uniform(0, 2 * np.pi),
        side=rng.choice([-1.0, 1.0]),
    )


def _still(path: Path, t: np.ndarray) -> Pose:
    return (
        np.full_like(t, path.x),
        np.full_like(t, path.y),
        np.full_like(t, path.angle),
        np.full_like(t, _radius(path.size_phase)),
    )


def _radius(phase: np.ndarray | float) -> np.ndarray | float:
    """Radius at a phase of 0 to 1, uniform in its logarithm."""
    low, high = SIZE_RANGE
    return low * (high / low) ** phase


def _shift(path: Path, t: np.ndarray, dx: np.ndarray | float, dy: np.ndarray | float) -> Pose:
    x, y, angle, radius = _still(path, t)
    return x + dx, y + dy, angle, radius


def _wave(path: Path, t: np.ndarray) -> np.ndarray:
    return 2 * np.pi * t / path.period + path.phase


def _swing(path: Path) -> float:
    """Half the way of an oscillation whose mean speed is ``path.speed``."""
    return path.speed * path.period / 4


def _slide(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, path.side * path.speed * t, 0.0)


def _rise(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, 0.0, -path.speed * t)


def _fall(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, 0.0, path.speed * t)


def _spin(path: Path, t: np.ndarray) -> Pose:
    x, y, angle, radius = _still(path, t)
    return x, y, angle + path.side * DISC * path.speed / radius * t, radius


def _resize(path: Path, t: np.ndarray, direction: float) -> Pose:
    x, y, angle, _ = _still(path, t)
    phase = np.mod(path.size_phase + direction * RESIZE * path.speed * t, 1.0)
    return x, y, angle, np.asarray(_radius(phase))


def _grow(path: Path, t: np.ndarray) -> Pose:
    return _resize(path, t, 1.0)


def _shrink(path: Path, t: np.ndarray) -> Pose:
    return _resize(path, t, -1.0)


def _sway(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, _swing(path) * np.sin(_wave(path, t)), 0.0)


def _bob(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, 0.0, _swing(path) * np.sin(_wave(path, t)))


def _orbit(path: Path, t: np.ndarray) -> Pose:
    wave = path.side * _wave(path, t)
    radius = path.speed * path.period / (2 * np.pi)
    return _shift(path, t, radius * np.cos(wave), radius * np.sin(wave))


def _dive(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, path.side * DIAGONAL * path.speed * t, DIAGONAL * path.speed * t)


def _climb(path: Path, t: np.ndarray) -> Pose:
    return _shift(path, t, path.side * DIAGONAL * path.speed * t, -DIAGONAL * path.speed * t)


def _pulse(path: Path, t: np.ndarray) -> Pose:
    x, y, angle, _ = _still(path, t)
    start = path.size_phase + (path.side > 0)  # growing or shrinking at first: uniform over the whole cycle of 2
    triangle = np.abs(np.mod(start + RESIZE * path.speed * t, 2.0) - 1.0)
    return x, y, angle, np.asarray(_radius(triangle))


MOTIONS: dict[str, Callable[[Path, np.ndarray], Pose]] = {
    "slide": _slide,
    "rise": _rise,
    "fall": _fall,
    "spin": _spin,
    "grow": _grow,
    "shrink": _shrink,
    "orbit": _orbit,
    "bob": _bob,
    "sway": _sway,
    "dive": _dive,
    "climb": _climb,
    "pulse": _pulse,
}
"""Class name -> motion, in the order in which ``make_videos`` takes them."""
