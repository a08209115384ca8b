"""Spatial 3-D convolutions computed as conv2d on frames. B batch, C channels, T frames, H, W.

On CPUs, oneDNN's 3-D kernels take up to twice as long as its 2-D kernels for the same arithmetic, mostly in the
backward pass (``benchmarks/step.json``). In channels-last memory frames are a batch of images already, without a copy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class PerFrameConv3d(nn.Conv3d):
    """Conv3d with kernel size 1 and stride 1 over time, computed frame by frame; same parameters, same output."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C_out, T, H_out, W_out]."""
        if input.device.type != "cpu" or not input.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(input)
        b, _, t, _, _ = input.shape
        frames = input.transpose(1, 2).flatten(0, 1)  # a view: [B T, C, H, W], channels last
        strides, padding = (self.stride[1], self.stride[2]), (int(self.padding[1]), int(self.padding[2]))
        y = conv2d(frames, self.weight[:, :, 0], self.bias, strides, padding, self.dilation[1:], self.groups)
        return y.unflatten(0, (b, t)).transpose(1, 2)


def supports_per_frame(conv: nn.Conv3d) -> bool:
    """Whether :class:`PerFrameConv3d` can replace ``conv``."""
    over_time = (conv.kernel_size[0], conv.stride[0], conv.padding[0])
    return over_time == (1, 1, 0) and conv.padding_mode == "zeros"
