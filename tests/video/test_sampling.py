"""Which frames, which crop, and that the draws belong to the sample."""

from __future__ import annotations

import numpy as np
import pytest

from vicc_ray.config import ClipConfig
from vicc_ray.video.augment import Crop, centre_crop, crop_flow, crop_rgb, draw_appearance, draw_crop
from vicc_ray.video.sampling import sample_generator, two_clips, windows


def test_draws_depend_on_seed_epoch_and_id_alone() -> None:
    first = sample_generator(1, 2, "a/b.mp4").random(4)
    assert np.array_equal(first, sample_generator(1, 2, "a/b.mp4").random(4))
    others = [sample_generator(*key).random(4) for key in ((0, 2, "a/b.mp4"), (1, 3, "a/b.mp4"), (1, 2, "a/c.mp4"))]
    assert not any(np.array_equal(first, other) for other in others)


def test_clips_lie_inside_the_video_and_keep_their_step() -> None:
    for seed in range(200):
        clips = two_clips(np.random.default_rng(seed), frames=40, length=8, step=3, same_share=0.5)
        assert clips.min() >= 0 and clips.max() < 40
        assert (np.diff(clips, axis=1) == 3).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_same_clips_is_kept(share: float) -> None:
    pairs = [two_clips(np.random.default_rng(seed), 1000, 8, 1, share) for seed in range(400)]
    same = np.mean([np.array_equal(*pair) for pair in pairs])
    assert abs(same - share) < 0.08


def test_every_start_comes_up() -> None:
    starts = {int(two_clips(np.random.default_rng(seed), 12, 8, 1, 0.0)[0, 0]) for seed in range(200)}
    assert starts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("frames", [1, 5])
def test_short_videos_are_repeated(frames: int) -> None:
    expected = np.arange(8) % frames
    assert np.array_equal(two_clips(np.random.default_rng(0), frames, 8, 1, 0.0)[0], expected)
    assert np.array_equal(windows(frames, 8, 1, 0.5, 10), expected[None])


@pytest.mark.parametrize("frames", [8, 9, 20, 31, 64, 300])
def test_windows_cover_the_video_at_half_overlap(frames: int) -> None:
    found = windows(frames, 8, 1, 0.5, 100)
    assert found[0, 0] == 0 or len(found) == 1
    assert found[-1, -1] == frames - 1 or len(found) == 1
    assert (np.diff(found[:, 0]) <= 4).all()
    if len(found) > 1:
        assert set(found.ravel()) == set(range(frames))


def test_windows_are_thinned_evenly() -> None:
    starts = windows(1000, 16, 2, 0.5, 5)[:, 0]
    assert len(starts) == 5
    assert starts[0] == 0 and starts[-1] == 1000 - 31
    assert np.ptp(np.diff(starts)) <= 1


def test_crops_stay_in_the_frame_and_keep_their_area() -> None:
    clip = ClipConfig(crop_area=(0.3, 0.8), crop_aspect=(0.75, 1.34))
    for seed in range(300):
        crop = draw_crop(np.random.default_rng(seed), 60, 80, clip)
        assert 0 <= crop.top <= 60 - crop.height and 0 <= crop.left <= 80 - crop.width
        assert 0.28 < crop.height * crop.width / 4800 < 0.82
        assert 0.7 < crop.width / crop.height < 1.42


def test_rgb_and_flow_are_cut_alike_and_the_flip_turns_the_horizontal_flow() -> None:
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 256, (3, 20, 24), dtype=np.uint8)
    rgb, flow = np.stack([plain] * 3, axis=-1), np.stack([plain] * 2, axis=-1)
    crop, mirrored = Crop(2, 3, 12, 14, False), Crop(2, 3, 12, 14, True)
    assert np.array_equal(crop_rgb(rgb, crop, 16)[..., 0], crop_flow(flow, crop, 16)[..., 0])
    straight, turned = crop_flow(flow, crop, 16), crop_flow(flow, mirrored, 16)[:, :, ::-1]
    assert np.array_equal(turned[..., 1], straight[..., 1])
    assert np.array_equal(turned[..., 0].astype(int) - 128, 128 - np.maximum(straight[..., 0], 1).astype(int))
    assert np.array_equal(crop_rgb(rgb, mirrored, 16)[:, :, ::-1], crop_rgb(rgb, crop, 16))


def test_no_motion_stays_no_motion_when_flipped() -> None:
    still = np.full((2, 8, 8, 2), 128, np.uint8)
    assert np.array_equal(crop_flow(still, Crop(0, 0, 8, 8, True), 8), still)


def test_the_centre_crop_is_the_largest_square() -> None:
    assert centre_crop(20, 30) == Crop(0, 5, 20, 20, False)


def test_appearance_keeps_its_ranges_and_shares() -> None:
    clip = ClipConfig(jitter=0.8, grey=0.5, blur=0.25, brightness=0.4, hue=0.1, blur_sigma=(0.5, 1.0))
    drawn = np.stack([draw_appearance(np.random.default_rng(seed), clip) for seed in range(2000)])
    jitter, brightness, _, _, hue, grey, channel, sigma = drawn.T
    assert abs(jitter.mean() - 0.8) < 0.05 and abs(grey.mean() - 0.5) < 0.05
    assert abs((sigma > 0).mean() - 0.25) < 0.05 and sigma[sigma > 0].min() >= 0.5 and sigma.max() <= 1.0
    assert brightness.min() >= 0.6 and brightness.max() <= 1.4 and np.abs(hue).max() <= 0.1
    assert set(channel) == {0, 1, 2}
