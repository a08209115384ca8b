"""Color augmentation and blur in batches."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2.functional import adjust_brightness, adjust_saturation, gaussian_blur

from vicc_ray.config import ClipConfig
from vicc_ray.models.input_convention import RGB
from vicc_ray.video.appearance import APPEARANCE, draw_appearance
from vicc_ray.video.device_transforms import JITTER_ORDERS, augment

NEUTRAL = dict.fromkeys(APPEARANCE, 0.0) | {"jitter": 1, "brightness": 1, "contrast": 1, "saturation": 1}


def parameters(*changes: dict[str, float]) -> torch.Tensor:
    return torch.tensor([[float({**NEUTRAL, **change}[name]) for name in APPEARANCE] for change in changes])


def clips(count: int, low: float = 0.3, high: float = 0.6) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, 3, 4, 20, 24, generator=draw)


def test_neutral_parameters_change_nothing() -> None:
    x = clips(2)
    for settings in ({}, {"jitter": 0, "brightness": 1.5, "hue": 0.2}):
        torch.testing.assert_close(augment(x.clone(), parameters(settings, settings)), x)


def test_brightness_and_saturation_match_torchvision() -> None:
    x = clips(1)
    frames = x[0].transpose(0, 1)
    bright = augment(x.clone(), parameters({"brightness": 1.3}))[0].transpose(0, 1)
    torch.testing.assert_close(bright, adjust_brightness(frames, 1.3))
    vivid = augment(x.clone(), parameters({"saturation": 0.4}))[0].transpose(0, 1)
    torch.testing.assert_close(vivid, adjust_saturation(frames, 0.4), atol=2e-3, rtol=0)


def test_contrast_keeps_the_mean_brightness_of_the_clip() -> None:
    x = clips(1)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1, 1)
    flat = augment(x.clone(), parameters({"contrast": 0.5}))
    torch.testing.assert_close((flat * luma).sum(1).mean(), (x * luma).sum(1).mean())
    torch.testing.assert_close(flat.std() / x.std(), torch.tensor(0.5), atol=1e-2, rtol=0)


def test_hue_turns_a_whole_circle_and_keeps_gray() -> None:
    x = clips(1)
    torch.testing.assert_close(augment(x.clone(), parameters({"hue": 1.0})), x, atol=1e-5, rtol=0)
    third = augment(x.clone(), parameters({"hue": 1 / 3}))
    torch.testing.assert_close(third, x.roll(1, dims=1), atol=1e-5, rtol=0)
    gray = clips(1)[:, :1].expand(-1, 3, -1, -1, -1).clone()
    torch.testing.assert_close(augment(gray.clone(), parameters({"hue": 0.2})), gray, atol=1e-5, rtol=0)


def test_grayscale_repeats_one_channel() -> None:
    x = clips(3)
    gray = augment(x.clone(), parameters(*({"gray": 1, "channel": c} for c in range(3))))
    for c in range(3):
        torch.testing.assert_close(gray[c], x[c, c : c + 1].expand(3, -1, -1, -1))


def test_the_jitter_is_applied_in_its_drawn_order() -> None:
    """Clips of one order each, against torchvision's operations; few colors are near the ends, where it clamps."""
    x = clips(2, 0.4, 0.55)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    draw = {"brightness": 1.2, "contrast": 0.7, "saturation": 0.5, "hue": 0.25}
    turn = augment(clips(1, 0, 1), parameters({"hue": 0.25}))
    assert not torch.allclose(turn, clips(1, 0, 1))

    def apply(name: str, frames: torch.Tensor) -> torch.Tensor:
        if name == "brightness":
            return frames * draw[name]
        if name == "contrast":
            mean = (frames * luma).sum(1).mean()
            return draw[name] * frames + (1 - draw[name]) * mean
        if name == "saturation":
            return draw[name] * frames + (1 - draw[name]) * (frames * luma).sum(1, keepdim=True)
        return augment(frames.transpose(0, 1)[None], parameters({"hue": 0.25}))[0].transpose(0, 1)

    for number, order in enumerate(JITTER_ORDERS):
        frames = x[0].transpose(0, 1)
        for name in order:
            frames = apply(name, frames)
        both = augment(x.clone(), parameters({**draw, "jitter_order": number}, {"jitter_order": 23 - number}))
        torch.testing.assert_close(both[0].transpose(0, 1), frames, atol=1e-5, rtol=0)
        torch.testing.assert_close(both[1], x[1], atol=1e-5, rtol=0)


def test_grayscale_may_take_another_channel_in_each_frame() -> None:
    x = clips(3)
    gray = augment(
        x.clone(), parameters({"gray": 1, "channel_seed": 5}, {"gray": 1, "channel": 1}, {"channel_seed": 5})
    )
    taken = [
        [c for c in range(3) if torch.allclose(gray[0, :, t], x[0, c : c + 1, t].expand(3, -1, -1))] for t in range(4)
    ]
    assert all(len(channel) == 1 for channel in taken) and len({channel[0] for channel in taken}) > 1
    torch.testing.assert_close(gray[1], x[1, 1:2].expand(3, -1, -1, -1))
    torch.testing.assert_close(gray[2], x[2])


def test_blur_matches_torchvision_and_spares_the_other_clips() -> None:
    x = clips(3)
    found = augment(x.clone(), parameters({"sigma": 1.3}, {}, {"sigma": 0.5}))
    for clip, sigma in ((0, 1.3), (2, 0.5)):
        expected = gaussian_blur(x[clip].transpose(0, 1), [9, 9], [sigma, sigma]).transpose(0, 1)
        torch.testing.assert_close(found[clip][..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], x[1])


def test_a_clip_looks_the_same_in_any_batch() -> None:
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy(np.stack([draw_appearance(rng, ClipConfig()) for _ in range(6)]))
    raw = torch.randint(0, 256, (6, 4, 16, 16, 3), dtype=torch.uint8)
    together = RGB.to_input(raw, RGB.unit, drawn)
    for k in range(6):
        alone = RGB.to_input(raw[k : k + 1], RGB.unit, drawn[k : k + 1])[0]
        torch.testing.assert_close(alone, together[k], atol=1e-5, rtol=0)
