"""Motion classes of the synthetic videos: how the pose of an object changes over time.

Every motion is stationary: at any moment the pose has the same distribution for all classes (position uniform on the
frame, angle uniform, size log-uniform), because a motion starts at a uniform phase of a cycle that preserves it. So a
single frame carries no information about the class; only the change between frames does.

Classes do not differ in left and right, since training flips clips horizontally, and hardly in the amount of motion:
nearly every motion moves an object's surface by ``speed`` per frame on average. When the amount differed, a flow
network learned nothing else: one principal component explained 97 % of the variance of its features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIZE_RANGE = (0.09, 0.30)
"""Smallest and largest radius of an object, in frame sides."""

DISC = 1.5
"""Rim speed of a rotating disc divided by the mean speed of its surface."""
RESIZE = 4.5
"""Fraction of the size cycle per frame, divided by the speed. The surface moves at two thirds of the speed of a sliding
object; a faster cycle would show mostly its jumps back."""
DIAGONAL = 0.5**0.5


@dataclass(frozen=True)
class Trajectory:
    """Random parameters of one object's motion, other than its class.

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


def draw_trajectory(rng: np.random.Generator) -> Trajectory:
    """Draw the parameters that are independent of the class; positions are uniform on the frame with its margin."""
    return Trajectory(
        x=rng.uniform(0, 1),
        y=rng.uniform(0, 1),
        angle=rng.uniform(0, 2 * np.pi),
        size_phase=rng.uniform(0, 1),
        speed=rng.uniform(0.012, 0.020),
        period=rng.uniform(12, 18),
        phase=rng.uniform(0, 2 * np.pi),
        side=float(rng.choice([-1.0, 1.0])),
    )


def _static(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return (
        np.full_like(t, trajectory.x),
        np.full_like(t, trajectory.y),
        np.full_like(t, trajectory.angle),
        np.full_like(t, _radius(trajectory.size_phase)),
    )


def _radius(phase: np.ndarray | float) -> np.ndarray | float:
    """Radius at a phase from 0 to 1, log-uniform for uniform phases."""
    low, high = SIZE_RANGE
    return low * (high / low) ** phase


def _shift(trajectory: Trajectory, t: np.ndarray, dx: np.ndarray | float, dy: np.ndarray | float) -> Pose:
    x, y, angle, radius = _static(trajectory, t)
    return x + dx, y + dy, angle, radius


def _wave(trajectory: Trajectory, t: np.ndarray) -> np.ndarray:
    return 2 * np.pi * t / trajectory.period + trajectory.phase


def _swing(trajectory: Trajectory) -> float:
    """Amplitude of an oscillation with mean speed ``trajectory.speed``."""
    return trajectory.speed * trajectory.period / 4


def _slide(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, trajectory.side * trajectory.speed * t, 0.0)


def _rise(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, 0.0, -trajectory.speed * t)


def _fall(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, 0.0, trajectory.speed * t)


def _spin(trajectory: Trajectory, t: np.ndarray) -> Pose:
    x, y, angle, radius = _static(trajectory, t)
    return x, y, angle + trajectory.side * DISC * trajectory.speed / radius * t, radius


def _resize(trajectory: Trajectory, t: np.ndarray, direction: float) -> Pose:
    x, y, angle, _ = _static(trajectory, t)
    phase = np.mod(trajectory.size_phase + direction * RESIZE * trajectory.speed * t, 1.0)
    return x, y, angle, np.asarray(_radius(phase))


def _grow(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _resize(trajectory, t, 1.0)


def _shrink(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _resize(trajectory, t, -1.0)


def _sway(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, _swing(trajectory) * np.sin(_wave(trajectory, t)), 0.0)


def _bob(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, 0.0, _swing(trajectory) * np.sin(_wave(trajectory, t)))


def _orbit(trajectory: Trajectory, t: np.ndarray) -> Pose:
    wave = trajectory.side * _wave(trajectory, t)
    radius = trajectory.speed * trajectory.period / (2 * np.pi)
    return _shift(trajectory, t, radius * np.cos(wave), radius * np.sin(wave))


def _dive(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, trajectory.side * DIAGONAL * trajectory.speed * t, DIAGONAL * trajectory.speed * t)


def _climb(trajectory: Trajectory, t: np.ndarray) -> Pose:
    return _shift(trajectory, t, trajectory.side * DIAGONAL * trajectory.speed * t, -DIAGONAL * trajectory.speed * t)


def _pulse(trajectory: Trajectory, t: np.ndarray) -> Pose:
    x, y, angle, _ = _static(trajectory, t)
    start = trajectory.size_phase + (
        trajectory.side > 0
    )  # whether it grows or shrinks first: uniform over the cycle of length 2
    triangle = np.abs(np.mod(start + RESIZE * trajectory.speed * t, 2.0) - 1.0)
    return x, y, angle, np.asarray(_radius(triangle))


MOTIONS: dict[str, Callable[[Trajectory, np.ndarray], Pose]] = {
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
