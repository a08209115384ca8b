"""Temporal convolutions that are safe for clips shorter than their kernel. B batch, C channels, T frames, H, W.

A workaround for a bug in oneDNN with AVX-512. The backward pass of a channels-last 3-D convolution writes out of
bounds, or computes weight gradients from uninitialized memory, for many shapes whose kernel plus stride over time
exceed the clip (``benchmarks/short_clips.py`` lists them for a given CPU). The forward pass is correct, and so is the
backward pass of a convolution without padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, pad

from vicc_ray.models.replace_convs import replace_convs


class PaddedConv3d(nn.Conv3d):
    """Conv3d that pads short clips explicitly, on CPUs, when a backward pass will follow."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C_out, T_out, H_out, W_out]."""
        if not self.is_short(input) or not self.needs_grad(input):
            return super().forward(input)
        frames, *space = (int(size) for size in self.padding)
        padded = pad(input, (0, 0, 0, 0, frames, frames))
        return conv3d(padded, self.weight, self.bias, self.stride, (0, *space), self.dilation, self.groups)

    def is_short(self, input: Tensor) -> bool:
        """Whether oneDNN's padding over time is unsafe: kernel plus stride exceed the frames of the input."""
        reach = self.dilation[0] * (self.kernel_size[0] - 1) + self.stride[0]
        return input.device.type == "cpu" and bool(self.padding[0]) and input.shape[-3] < reach

    def needs_grad(self, input: Tensor) -> bool:
        """Whether a backward pass will follow."""
        return torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)


def supports_padded(conv: nn.Conv3d) -> bool:
    """Whether :class:`PaddedConv3d` can replace ``conv``: it pads with zeros over time."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and conv.padding[0] > 0


def use_padded_convs(module: nn.Module) -> nn.Module:
    """Replace every Conv3d in ``module`` that pads over time by a :class:`PaddedConv3d` with the same parameters.

    Subclasses of Conv3d stay: they may compute something else.
    """
    return replace_convs(
        module, lambda conv: PaddedConv3d if type(conv) is nn.Conv3d and supports_padded(conv) else None
    )
