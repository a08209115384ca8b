"""Flow as colour: direction is the hue, speed the strength."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from vicc_ray.reports.svg.flow_color import colour_wheel, fast_speed, flow_to_colour, legend

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)


def hue(colour: np.ndarray) -> float:
    return colorsys.rgb_to_hsv(*(colour / 255.0))[0]


def test_no_motion_is_white() -> None:
    assert (flow_to_colour(np.zeros((4, 5, 2)), 3.0) == 255).all()


def test_directions_have_colours_of_their_own() -> None:
    colours = flow_to_colour(CIRCLE, 1.0).astype(int)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1)
    assert (distance[~np.eye(24, dtype=bool)] > 15).all()
    opposite = np.abs(colours - np.roll(colours, 12, axis=0)).sum(-1)
    assert (opposite > 250).all()


def test_known_directions() -> None:
    right, down, left, up = flow_to_colour(np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), 1.0)
    assert hue(right) == pytest.approx(0, abs=0.02)
    assert 0.1 < hue(down) < 0.35
    assert 0.45 < hue(left) < 0.6
    assert 0.6 < hue(up) < 0.85


def test_speed_changes_the_strength_and_not_the_hue() -> None:
    for direction in CIRCLE:
        strong, weak = flow_to_colour(np.stack([direction * 0.9, direction * 0.45]), 1.0)
        assert abs((hue(strong) - hue(weak) + 0.5) % 1 - 0.5) < 0.02
        assert strong.min() < weak.min()


def test_faster_than_full_looks_like_full() -> None:
    assert (flow_to_colour(CIRCLE * 7, 1.0) == flow_to_colour(CIRCLE, 1.0)).all()


def test_neighbouring_directions_look_alike_all_around() -> None:
    angles = np.linspace(-np.pi, np.pi, 2000)
    colours = flow_to_colour(np.stack([np.cos(angles), np.sin(angles)], -1), 1.0).astype(int)
    assert np.abs(np.diff(colours, axis=0)).max() <= 8
    assert np.abs(colours[0] - colours[-1]).max() <= 8


def test_wheel_and_legend() -> None:
    wheel = colour_wheel()
    assert wheel.shape == (55, 3) and len(np.unique(wheel, axis=0)) == 55
    picture = legend(64)
    assert picture.shape == (64, 64, 4)
    assert (picture[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all() and picture[32, 32, 3] == 255
    assert picture[32, 60, 0] > 200 > picture[32, 60, 2]


def test_the_fast_speed_is_that_of_what_moves() -> None:
    flow = np.zeros((3, 10, 10, 2))
    assert fast_speed(flow) == 0.0
    flow[:, :5] = (3, 4)
    assert fast_speed(flow) == pytest.approx(5.0)
