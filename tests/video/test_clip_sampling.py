"""Sampling of frames and crops, whose random draws depend on the sample only."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vicc_ray.config import ClipConfig
from vicc_ray.video.appearance import draw_appearance
from vicc_ray.video.clip_sampling import every_window, sample_rng, sample_two_clips, windows
from vicc_ray.video.transforms import Crop, FlowCropper, RgbCropper, center_crop, draw_crop, ten_crops


def test_draws_depend_only_on_seed_epoch_and_id() -> None:
    first = sample_rng(1, 2, "a/b.mp4").random(4)
    assert np.array_equal(first, sample_rng(1, 2, "a/b.mp4").random(4))
    others = [sample_rng(*key).random(4) for key in ((0, 2, "a/b.mp4"), (1, 3, "a/b.mp4"), (1, 2, "a/c.mp4"))]
    assert not any(np.array_equal(first, other) for other in others)


def test_clips_are_inside_the_video_and_have_their_stride() -> None:
    for seed in range(200):
        clips, _ = sample_two_clips(
            np.random.default_rng(seed), frames=40, length=8, frame_stride=3, same_clip_prob=0.5
        )
        assert clips.min() >= 0 and clips.max() < 40
        assert (np.diff(clips, axis=1) == 3).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_clips_are_equal_with_the_given_probability(share: float) -> None:
    pairs = [sample_two_clips(np.random.default_rng(seed), 1000, 8, 1, share)[0] for seed in range(400)]
    same = np.mean([np.array_equal(*pair) for pair in pairs])
    assert abs(same - share) < 0.08


def test_every_start_is_drawn() -> None:
    starts = {int(sample_two_clips(np.random.default_rng(seed), 12, 8, 1, 0.0)[0][0, 0]) for seed in range(200)}
    assert starts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("frames", [1, 5])
def test_short_videos_are_looped(frames: int) -> None:
    expected = np.arange(8) % frames
    assert np.array_equal(sample_two_clips(np.random.default_rng(0), frames, 8, 1, 0.0)[0][0], expected)
    assert np.array_equal(windows(frames, 8, 1, 0.5, 10), expected[None])


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("frames", [1, 5])
def test_short_videos_may_repeat_their_first_frame_at_the_front(frames: int, stride: int) -> None:
    """The last index is that of the last frame, and indices before the video are its first frame."""
    expected = np.maximum(frames - 1 - stride * np.arange(8)[::-1], 0)
    assert np.array_equal(
        sample_two_clips(np.random.default_rng(0), frames, 8, stride, 0.0, "repeat_first")[0], [expected] * 2
    )
    assert np.array_equal(windows(frames, 8, stride, 0.5, 10, "repeat_first"), expected[None])
    assert np.array_equal(every_window(frames, 8, stride, 15, "repeat_first"), expected[None])
    assert (windows(40, 8, stride, 0.5, 10, "repeat_first") == windows(40, 8, stride, 0.5, 10)).all()


@pytest.mark.parametrize("frames", [8, 22, 23, 24, 300])
def test_every_window_starts_at_a_multiple_of_the_step_and_fits(frames: int) -> None:
    found = every_window(frames, 8, 1, 15, "loop")
    assert found[:, 0].tolist() == [start for start in range(frames) if start % 15 == 0 and start + 8 <= frames]
    assert (np.diff(found, axis=1) == 1).all()


@pytest.mark.parametrize("frames", [8, 9, 20, 31, 64, 300])
def test_windows_cover_the_video_at_half_overlap(frames: int) -> None:
    found = windows(frames, 8, 1, 0.5, 100)
    assert found[0, 0] == 0 or len(found) == 1
    assert found[-1, -1] == frames - 1 or len(found) == 1
    assert (np.diff(found[:, 0]) <= 4).all()
    if len(found) > 1:
        assert set(found.ravel()) == set(range(frames))


def test_limited_windows_are_evenly_spaced() -> None:
    starts = windows(1000, 16, 2, 0.5, 5)[:, 0]
    assert len(starts) == 5
    assert starts[0] == 0 and starts[-1] == 1000 - 31
    assert np.ptp(np.diff(starts)) <= 1


def test_crops_stay_in_the_frame_and_keep_their_area() -> None:
    clip = ClipConfig(crop_scale=(0.3, 0.8), crop_ratio=(0.75, 1.34))
    for seed in range(300):
        crop = draw_crop(np.random.default_rng(seed), 60, 80, clip, 4)
        assert not any(side % 4 for side in (crop.top, crop.left, crop.height, crop.width))
        assert 0 <= crop.top <= 60 - crop.height and 0 <= crop.left <= 80 - crop.width
        assert 0.25 < crop.height * crop.width / 4800 < 0.86
        assert 0.66 < crop.width / crop.height < 1.48


def gray(picture: np.ndarray) -> np.ndarray:
    """Gray levels 16 to 235, [H, W], as I420 planes."""
    return np.vstack([picture, np.full((picture.shape[0] // 2, picture.shape[1]), 128, np.uint8)])


def crop_rgb(frames: list[np.ndarray], crop: Crop, size: int = 16) -> np.ndarray:
    """Crop I420 frames, whose planes are stacked vertically."""
    out, cropper = np.empty((len(frames), size, size, 3), np.uint8), RgbCropper(crop, size)
    for frame, into in zip(frames, out, strict=True):
        height, width = frame.shape[0] * 2 // 3, frame.shape[1]
        halves = frame[height:].reshape(2, height // 2, width // 2)
        cropper.crop((frame[:height], *halves), into)
    return out


def crop_flow(
    fields: list[np.ndarray], crop: Crop, size: int = 16, scale: int = 1, rescale: bool = False
) -> np.ndarray:
    out, cropper = np.empty((len(fields), size, size, 2), np.uint8), FlowCropper(crop, size, scale, rescale)
    for field, into in zip(fields, out, strict=True):
        cropper.crop(field, into)
    return out


def test_rgb_and_flow_have_the_same_crop_and_a_flip_negates_horizontal_flow() -> None:
    pictures = np.random.default_rng(0).integers(16, 236, (3, 20, 24), dtype=np.uint8)
    planes, fields = [gray(picture) for picture in pictures], [np.hstack([picture] * 2) for picture in pictures]
    crop, mirrored = Crop(2, 4, 12, 14, False), Crop(2, 4, 12, 14, True)
    rgb, flow = crop_rgb(planes, crop), crop_flow(fields, crop)
    levels = (flow[..., 0].astype(float) - 16) * 255 / 219  # BT.601: gray value of a luma level
    assert np.abs(rgb - levels[..., None]).max() <= 1
    orient = crop_flow(fields, mirrored)[:, :, ::-1]
    assert np.array_equal(orient[..., 1], flow[..., 1])
    assert np.array_equal(orient[..., 0].astype(int) - 128, 128 - flow[..., 0].astype(int))
    assert np.array_equal(crop_rgb(planes, mirrored)[:, :, ::-1], rgb)


def test_chroma_has_the_same_crop_as_luma() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[8:16, 20:32] = 255, 40, 40
    planes = [cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)]
    red = crop_rgb(planes, Crop(8, 20, 8, 12, False))
    assert np.abs(red[:, 1:-1, 1:-1].astype(int) - (255, 40, 40)).max() <= 6
    assert crop_rgb(planes, Crop(16, 20, 8, 12, False))[:, 2:].max() <= 6


def test_downscaled_flow_has_the_same_crop() -> None:
    field = np.full((32, 48), 128, np.uint8)
    field[8:16, 20:32] = 200
    small = [np.hstack([field[::4, ::4]] * 2)]
    assert (crop_flow(small, Crop(8, 20, 8, 12, False), scale=4) == 200).all()
    assert (crop_flow(small, Crop(16, 20, 8, 12, False), scale=4) == 128).all()


def test_rescaled_displacements_are_in_pixels_of_the_resized_crop() -> None:
    field = [np.hstack([np.full((16, 16), 138, np.uint8), np.full((16, 16), 108, np.uint8)])]
    wide = crop_flow(field, Crop(0, 0, 8, 16, True), size=32, rescale=True)
    assert (wide == (128 - 2 * 10, 128 - 4 * 20)).all()


def test_a_flip_may_keep_the_sign_of_the_horizontal_component() -> None:
    picture = np.random.default_rng(0).integers(1, 256, (16, 32), dtype=np.uint8)
    straight, flipped = (np.empty((16, 16, 2), np.uint8) for _ in range(2))
    FlowCropper(Crop(0, 0, 16, 16, False), 16).crop(picture, straight)
    FlowCropper(Crop(0, 0, 16, 16, True), 16, negate=False).crop(picture, flipped)
    assert np.array_equal(flipped[:, ::-1], straight)


def test_crops_are_resized_by_the_chosen_interpolation() -> None:
    picture = np.random.default_rng(0).integers(1, 256, (16, 32), dtype=np.uint8)
    for name, number in (("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)):
        flow, rgb = np.empty((24, 24, 2), np.uint8), np.empty((24, 24, 3), np.uint8)
        FlowCropper(Crop(2, 2, 12, 8, False), 24, interpolation=name).crop(picture, flow)
        assert np.array_equal(flow[..., 0], cv2.resize(picture[2:14, 2:10], (24, 24), interpolation=number))
        gray_half = np.full((8, 8), 128, np.uint8)
        RgbCropper(Crop(2, 2, 12, 8, False), 24, name).crop((picture[:, :16], gray_half, gray_half), rgb)
        luma = cv2.resize(picture[2:14, 2:10], (24, 24), interpolation=number)
        expected = np.clip((luma.astype(float) - 16) * 255 / 219, 0, 255)
        assert np.abs(rgb.astype(float) - expected[..., None]).max() <= 1


def test_zero_flow_stays_zero_in_a_flip() -> None:
    still = [np.full((8, 16), 128, np.uint8)] * 2
    assert (crop_flow(still, Crop(0, 0, 8, 8, True), 8) == 128).all()


@pytest.mark.parametrize(("height", "width", "grid"), [(128, 170, 2), (240, 320, 4), (40, 40, 2), (16, 92, 4)])
def test_ten_crops_are_the_center_and_the_corners_and_their_flips(height: int, width: int, grid: int) -> None:
    crops = ten_crops(height, width, grid, 7 / 8)
    assert len(crops) == 10
    assert [replace(crop, flip=True) for crop in crops[:5]] == crops[5:]
    side = crops[0].height
    assert 0.75 * min(height, width) <= side <= 7 / 8 * min(height, width)
    assert all((crop.height, crop.width) == (side, side) for crop in crops)
    assert all(value % grid == 0 for crop in crops for value in (crop.top, crop.left, crop.height))
    bottom, right = height - side, width - side
    assert [(crop.top, crop.left) for crop in crops[1:5]] == [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    assert abs(crops[0].top - bottom / 2) <= grid
    assert abs(crops[0].left - right / 2) <= grid


def test_the_center_crop_is_the_largest_square() -> None:
    assert center_crop(20, 30, 1) == Crop(0, 5, 20, 20, False)
    assert center_crop(20, 30, 2) == Crop(0, 4, 20, 20, False)


def test_appearance_keeps_its_ranges_and_probabilities() -> None:
    clip = ClipConfig(
        jitter_prob=0.8, grayscale_prob=0.5, blur_prob=0.25, brightness=0.4, hue=0.1, blur_sigma=(0.5, 1.0)
    )
    drawn = np.stack([draw_appearance(np.random.default_rng(seed), clip) for seed in range(2000)])
    jitter, brightness, _, _, hue, gray, channel, sigma, order, seed = drawn.T
    assert abs(jitter.mean() - 0.8) < 0.05 and abs(gray.mean() - 0.5) < 0.05
    assert abs((sigma > 0).mean() - 0.25) < 0.05 and sigma[sigma > 0].min() >= 0.5 and sigma.max() <= 1.0
    assert brightness.min() >= 0.6 and brightness.max() <= 1.4 and np.abs(hue).max() <= 0.1
    assert set(channel) == {0, 1, 2}
    assert not order.any() and not seed.any()
