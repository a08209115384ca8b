"""Appearance of samples: which views are colored, and what is drawn besides."""

from __future__ import annotations

import numpy as np
import pytest

from vicc_ray.config import ClipConfig
from vicc_ray.video.appearance import APPEARANCE, draw_appearance, draw_sample_appearance, plain_appearance

EVERY = {"jitter_prob": 1.0, "grayscale_prob": 1.0, "blur_prob": 1.0}
PUBLISHED = ClipConfig(**EVERY, same_clip_colored="one", two_clips_color_prob=0.3)


def colored(clip: ClipConfig, one_clip: bool, views: int = 2, samples: int = 4000) -> np.ndarray:
    """Whether each view of many samples is colored, bool [samples, V]; every colored view has a jitter."""
    drawn = [draw_sample_appearance(np.random.default_rng(n), clip, views, one_clip) for n in range(samples)]
    return np.stack(drawn)[..., APPEARANCE.index("jitter")] > 0


@pytest.mark.parametrize("one_clip", [False, True])
def test_by_default_both_views_are_colored_and_drawn_one_after_the_other(one_clip: bool) -> None:
    clip = ClipConfig()
    drawn = draw_sample_appearance(np.random.default_rng(3), clip, 2, one_clip)
    rng = np.random.default_rng(3)
    assert np.array_equal(drawn, [draw_appearance(rng, clip) for _ in range(2)])


def test_one_view_of_one_clip_is_colored_either_as_often_as_the_other() -> None:
    views = colored(PUBLISHED, one_clip=True)
    assert (views.sum(axis=1) == 1).all()
    assert abs(views[:, 0].mean() - 0.5) < 0.03


def test_views_of_two_clips_are_colored_independently() -> None:
    views = colored(PUBLISHED, one_clip=False)
    assert np.abs(views.mean(axis=0) - 0.3).max() < 0.03
    assert abs(views.all(axis=1).mean() - 0.09) < 0.02


def test_a_single_clip_is_colored_by_its_own_probabilities() -> None:
    for one_clip in (False, True):
        assert colored(PUBLISHED, one_clip, views=1, samples=100).all()


def test_plain_views_have_no_operation_at_all() -> None:
    clip = PUBLISHED.model_copy(update={"jitter_order": "random", "grayscale_per_frame": True})
    drawn = np.concatenate([draw_sample_appearance(np.random.default_rng(n), clip, 2, True) for n in range(20)])
    plain = drawn[drawn[:, APPEARANCE.index("jitter")] == 0]
    assert len(plain) == 20
    assert (plain == plain_appearance()).all()


def test_orders_and_channels_of_frames_are_drawn_for_each_view() -> None:
    clip = ClipConfig(**EVERY, jitter_order="random", grayscale_per_frame=True)
    drawn = np.stack([draw_sample_appearance(np.random.default_rng(n), clip, 2, False) for n in range(500)])
    orders, seeds = (drawn[..., APPEARANCE.index(name)] for name in ("jitter_order", "channel_seed"))
    assert set(orders.flatten()) == set(range(24))
    assert seeds.min() >= 1 and len(set(seeds.flatten())) > 990
    assert (seeds == seeds.astype(int)).all()
