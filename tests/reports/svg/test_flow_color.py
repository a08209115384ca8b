"""Flow as color: direction is the hue, speed the strength."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from vicc_ray.reports.svg.flow_color import fast_speed, flow_to_color, legend

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)


def hue(color: np.ndarray) -> float:
    return colorsys.rgb_to_hsv(*(color / 255.0))[0]


def test_zero_motion_is_white() -> None:
    assert (flow_to_color(np.zeros((4, 5, 2)), 3.0) == 255).all()


def test_directions_have_distinct_colors() -> None:
    colors = flow_to_color(CIRCLE, 1.0).astype(int)
    distance = np.abs(colors[:, None] - colors[None]).sum(-1)
    assert (distance[~np.eye(24, dtype=bool)] > 15).all()
    opposite = np.abs(colors - np.roll(colors, 12, axis=0)).sum(-1)
    assert (opposite > 250).all()


def test_reference_directions_have_their_colors() -> None:
    right, down, left, up = flow_to_color(np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), 1.0)
    assert hue(right) == pytest.approx(0, abs=0.02)
    assert 0.1 < hue(down) < 0.35
    assert 0.45 < hue(left) < 0.6
    assert 0.6 < hue(up) < 0.85


def test_speed_changes_saturation_and_not_hue() -> None:
    for direction in CIRCLE:
        strong, weak = flow_to_color(np.stack([direction * 0.9, direction * 0.45]), 1.0)
        assert abs((hue(strong) - hue(weak) + 0.5) % 1 - 0.5) < 0.02
        assert strong.min() < weak.min()


@pytest.mark.parametrize("full", [1.0, 0.3, 7.7])
def test_speed_is_clipped_at_full_scale(full: float) -> None:
    assert (flow_to_color(CIRCLE * 7 * full, full) == flow_to_color(CIRCLE * full, full)).all()


def test_full_scale_does_not_depend_on_the_fastest_pixel() -> None:
    alone, among = flow_to_color(CIRCLE[:1], 4.0), flow_to_color(CIRCLE * np.arange(1, 25)[:, None], 4.0)
    assert (alone[0] == among[0]).all()


def test_rounding_never_wraps_a_color_around() -> None:
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, 20_000)
    colors = flow_to_color(3.3 * np.stack([np.cos(angles), np.sin(angles)], -1), 3.3)
    assert (colors.min(axis=-1) < 10).all()


def test_the_color_wheel_is_continuous() -> None:
    angles = np.linspace(-np.pi, np.pi, 2000)
    colors = flow_to_color(np.stack([np.cos(angles), np.sin(angles)], -1), 1.0).astype(int)
    steps = np.abs(colors - np.roll(colors, 1, axis=0)).max(axis=1)
    assert sorted(steps)[-2] <= 8
    assert steps.max() <= 48  # where the wheel's last hue meets its first


def test_legend_is_a_disk_of_the_same_colors() -> None:
    picture = legend(64)
    assert picture.shape == (64, 64, 4)
    assert (picture[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all() and picture[32, 32, 3] == 255
    assert picture[32, 60, 0] > 200 > picture[32, 60, 2]
    grid = (np.arange(64) + 0.5) / 32 - 1
    assert (picture[32, :, :3] == flow_to_color(np.stack([grid, np.full(64, grid[32])], -1), 1.0)).all()


def test_full_speed_is_estimated_from_moving_pixels() -> None:
    flow = np.zeros((3, 10, 10, 2))
    assert fast_speed(flow) == 0.0
    flow[:, :5] = (3, 4)
    assert fast_speed(flow) == pytest.approx(5.0)
