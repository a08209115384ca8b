"""Color augmentation, blur and lookup tables in batches on the training device. B clips, C channels, T frames.

Every clip has its own parameters, drawn with the sample (:data:`vicc_ray.video.appearance.APPEARANCE`). So it looks the
same in every batch and on every worker.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import permutations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from vicc_ray.utils.to_device import to_device
from vicc_ray.video.appearance import APPEARANCE

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
JITTER_ORDERS = tuple(permutations(("brightness", "contrast", "saturation", "hue")))
"""Orders of the jitter, by the drawn ``jitter_order``."""
BLUR_RADIUS = 4
"""Half width in pixels of the blur kernel: enough for two standard deviations of the widest default blur."""


def augment(x: Tensor, appearance: Tensor) -> Tensor:
    """Color jitter, grayscale and blur of float [B, 3, T, H, W] in 0 to 1; the result is in 0 to 1 too.

    Parameters [B, P] are on the host, so that no choice among the clips needs a synchronization with the device.
    """
    b, _, t, h, w = x.shape
    flat = x.reshape(b, 3, -1)
    order = appearance[:, APPEARANCE.index("jitter_order")].long()
    matrix, offset = _color_map(to_device(appearance.float(), x.device), flat.mean(dim=2), order)
    x = torch.baddbmm(offset, matrix, flat).clamp_(0, 1).view(b, 3, t, h, w)
    _repeat_channels_of_frames(x, appearance)
    sigma = appearance[:, APPEARANCE.index("sigma")].float()
    blurred = torch.nonzero(sigma > 0).flatten()
    if len(blurred):
        chosen = to_device(blurred, x.device)
        x[chosen] = _blur(x[chosen], to_device(sigma[blurred], x.device))
    return x


def _color_map(appearance: Tensor, mean_color: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, hue and grayscale as one affine map of colors: [B, 3, 3] and [B, 3, 1].

    All of them are affine, so one matrix product applies them all; values are clamped once, at the end. Grayscale
    repeats one channel of all frames.

    Args:
        order: index of each clip's order of the jitter, int [B] on the host.
    """
    p = {name: v.view(-1, 1, 1) for name, v in zip(APPEARANCE, appearance.T, strict=True)}
    eye = torch.eye(3, device=mean_color.device).expand(len(appearance), 3, 3)
    luma = device_constant(LUMA_WEIGHTS, mean_color.device).expand(3, 3)
    jitter, gray = p["jitter"], p["gray"] * (p["channel_seed"] < 1)
    saturate, hue = p["saturation"] * eye + (1 - p["saturation"]) * luma, _hue_matrix(p["hue"].flatten())
    if order.any():
        steps = torch.stack([p["brightness"] * eye, p["contrast"] * eye, saturate, hue])
        matrix, offset = _in_order(steps, (1 - p["contrast"]) * luma, mean_color.unsqueeze(2), order)
    else:
        tint = hue @ saturate
        matrix = tint * p["contrast"] * p["brightness"]
        offset = tint @ (luma @ mean_color.unsqueeze(2)) * (1 - p["contrast"]) * p["brightness"]
    matrix, offset = jitter * matrix + (1 - jitter) * eye, jitter * offset
    pick = (p["channel"] == torch.arange(3, device=matrix.device)).to(matrix).expand(-1, 3, 3)
    choose = gray * pick + (1 - gray) * eye
    return choose @ matrix, choose @ offset


def _in_order(steps: Tensor, to_gray: Tensor, mean: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Composition of the jitter's steps in each clip's order: [B, 3, 3] and [B, 3, 1].

    Args:
        steps: [4, B, 3, 3] linear maps of brightness, contrast, saturation and hue.
        to_gray: [B, 3, 3], what contrast adds of the mean color at its turn.
        mean: [B, 3, 1] mean color of each clip.
        order: int [B] on the host.
    """
    names, clips = JITTER_ORDERS[0], torch.arange(len(order))
    ranks = torch.tensor([[names.index(name) for name in JITTER_ORDERS[i]] for i in order.tolist()])
    matrix, offset = torch.eye(3, device=steps.device).expand(len(order), 3, 3), torch.zeros_like(mean)
    for step in ranks.T:
        linear = steps[to_device(step, steps.device), to_device(clips, steps.device)]
        is_contrast = to_device((step == names.index("contrast")).float(), steps.device).view(-1, 1, 1)
        added = is_contrast * (to_gray @ (matrix @ mean + offset))
        matrix, offset = linear @ matrix, linear @ offset + added
    return matrix, offset


def _repeat_channels_of_frames(x: Tensor, appearance: Tensor) -> None:
    """Grayscale with a channel drawn for each frame, in place, for the clips that have a ``channel_seed``."""
    gray = appearance[:, APPEARANCE.index("gray")] > 0
    seeds = appearance[:, APPEARANCE.index("channel_seed")].long() * gray
    clips = torch.nonzero(seeds).flatten()
    if not len(clips):
        return
    drawn = np.stack([np.random.default_rng(seed).integers(0, 3, x.shape[2]) for seed in seeds[clips].tolist()])
    channels, chosen = to_device(torch.from_numpy(drawn), x.device), to_device(clips, x.device)
    x[chosen] = x[chosen].take_along_dim(channels[:, None, :, None, None], dim=1)


def look_up(table: tuple[int, ...], x: Tensor) -> Tensor:
    """Entries of a table of 256 uint8 values for each value of ``x``, uint8 of any shape."""
    values = device_constant(table, x.device).to(torch.uint8)
    return values.index_select(0, x.flatten().int()).view(x.shape)


@lru_cache
def device_constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Constant tensor, cached on the device to avoid a blocking copy in each step."""
    return torch.tensor(values, device=device)


def _hue_matrix(turns: Tensor) -> Tensor:
    """Rotation [B, 3, 3] of colors about the gray axis by ``turns`` [B], as a fraction of a circle."""
    angle = 2 * math.pi * turns
    cos, sin = angle.cos(), angle.sin()
    third, root = (1 - cos) / 3, sin / math.sqrt(3)
    rows = [cos + third, third - root, third + root]
    return torch.stack([torch.stack([rows[(j - i) % 3] for j in range(3)], dim=1) for i in range(3)], dim=1)


def _blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian blur with one sigma per clip, [B] in pixels, above 0."""
    b, c, t, h, w = x.shape
    offsets = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-2).view(-1, 1)) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    flat = x.transpose(0, 2).reshape(t * c, b, h, w)
    across, down = (BLUR_RADIUS, BLUR_RADIUS, 0, 0), (0, 0, BLUR_RADIUS, BLUR_RADIUS)
    for shape, padding in (((b, 1, 1, -1), across), ((b, 1, -1, 1), down)):
        flat = conv2d(pad(flat, padding, mode="replicate"), kernel.view(shape), groups=b)
    return flat.view(t, c, b, h, w).transpose(0, 2)
