"""Convolutions over time that are safe for clips shorter than their kernel. B batch, C channels, T frames, H, W.

With AVX-512, oneDNN's backward pass of a channels-last 3-D convolution writes over memory that is not its own, or
makes gradients of the weights out of memory that nobody wrote, for many shapes whose kernel and step over time together
are longer than the clip (``benchmarks/short_clips.py`` tells which on a given CPU). Without padding of its own it is
well, and so is the forward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, pad

from vicc_ray.models.replace_convs import replace_convs


class PaddedConv3d(nn.Conv3d):
    """A Conv3d that puts the zeros around short clips itself, on CPUs, where there will be a backward pass."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C_out, T_out, H_out, W_out]."""
        if not self.is_short(input) or not self.learns(input):
            return super().forward(input)
        frames, *space = (int(size) for size in self.padding)
        longer = pad(input, (0, 0, 0, 0, frames, frames))
        return conv3d(longer, self.weight, self.bias, self.stride, (0, *space), self.dilation, self.groups)

    def is_short(self, input: Tensor) -> bool:
        """Whether oneDNN must not see the padding over time: a kernel and a step together are longer than the input."""
        reach = self.dilation[0] * (self.kernel_size[0] - 1) + self.stride[0]
        return input.device.type == "cpu" and bool(self.padding[0]) and input.shape[-3] < reach

    def learns(self, input: Tensor) -> bool:
        """Whether there will be a backward pass."""
        return torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)


def supports_padded(conv: nn.Conv3d) -> bool:
    """Whether :class:`PaddedConv3d` computes what this one does, which pads over time and leaves it to torch."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and conv.padding[0] > 0


def use_padded_convs(module: nn.Module) -> nn.Module:
    """Replace every Conv3d inside ``module`` that pads over time by one that is safe, which shares its parameters.

    One of a class of its own stays as it is: it may compute something else.
    """
    return replace_convs(
        module, lambda conv: PaddedConv3d if type(conv) is nn.Conv3d and supports_padded(conv) else None
    )
