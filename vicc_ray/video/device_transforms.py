"""Color augmentation, blur and lookup tables in batches on the training device. B clips, C channels, T frames.

Every clip has its own parameters, drawn with the sample (:data:`vicc_ray.video.transforms.APPEARANCE`). So it looks the
same in every batch and on every worker.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from vicc_ray.utils.to_device import to_device
from vicc_ray.video.transforms import APPEARANCE

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
BLUR_RADIUS = 4
"""Half width in pixels of the blur kernel: enough for two standard deviations of the widest default blur."""


def augment(x: Tensor, appearance: Tensor) -> Tensor:
    """Color jitter, grayscale and blur of float [B, 3, T, H, W] in 0 to 1; the result is in 0 to 1 too.

    Parameters [B, P] are on the host, so that the choice of blurred clips needs no synchronization with the device.
    """
    b, _, t, h, w = x.shape
    flat = x.reshape(b, 3, -1)
    matrix, offset = _color_map(to_device(appearance.float(), x.device), flat.mean(dim=2))
    x = torch.baddbmm(offset, matrix, flat).clamp_(0, 1).view(b, 3, t, h, w)
    sigma = appearance[:, APPEARANCE.index("sigma")].float()
    blurred = torch.nonzero(sigma > 0).flatten()
    if len(blurred):
        chosen = to_device(blurred, x.device)
        x[chosen] = _blur(x[chosen], to_device(sigma[blurred], x.device))
    return x


def _color_map(appearance: Tensor, mean_color: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, hue and grayscale as one affine map of colors: [B, 3, 3] and [B, 3, 1].

    All of them are affine, so one matrix product applies them all; values are clamped once, at the end. Grayscale
    repeats one channel.
    """
    p = dict(zip(APPEARANCE, appearance.T, strict=True))
    eye = torch.eye(3, device=mean_color.device).expand(len(appearance), 3, 3)
    luma = device_constant(LUMA_WEIGHTS, mean_color.device).expand(3, 3)
    to = [v.view(-1, 1, 1) for v in (p["brightness"], p["contrast"], p["saturation"], p["jitter"], p["gray"])]
    brightness, contrast, saturation, jitter, gray = to
    tint = _hue_matrix(p["hue"]) @ (saturation * eye + (1 - saturation) * luma)
    matrix = tint * contrast * brightness
    offset = tint @ (luma @ mean_color.unsqueeze(2)) * (1 - contrast) * brightness
    matrix, offset = jitter * matrix + (1 - jitter) * eye, jitter * offset
    pick = (p["channel"].view(-1, 1, 1) == torch.arange(3, device=matrix.device)).to(matrix).expand(-1, 3, 3)
    choose = gray * pick + (1 - gray) * eye
    return choose @ matrix, choose @ offset


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
