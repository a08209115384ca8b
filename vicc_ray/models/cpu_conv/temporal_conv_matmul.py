"""Temporal 3-D convolutions computed as matrix products. B batch, C channels, T frames, H, W.

On CPUs, oneDNN's 3-D kernels are slower than a matrix product, some by far (``benchmarks/step.json``). In channels-last
memory the input frames of one kernel tap are the rows of a matrix already, so nothing is copied: each tap adds its
product to the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv3d

from vicc_ray.models.padded_conv3d import PaddedConv3d

MIN_FORWARD, MIN_BACKWARD = 32_000_000, 128_000_000
"""Multiplications per tap and sample from which a matrix product is faster than oneDNN, forward and backward. Measured
on layers of S3D, on two cores with AVX2; the training step became 4 to 14 % shorter.
"""


class TemporalConv3d(PaddedConv3d):
    """Conv3d with kernel size 1 over space and "same" padding over time; same parameters, same output."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C_out, T_out, H, W]."""
        forward, backward = self._use_matmul(input)
        if not (forward or (backward and torch.is_grad_enabled())):
            return super().forward(input)
        y: Tensor = _TemporalConv.apply(input, self.weight, self.bias, self.stride[0], forward, backward)
        return y

    def _use_matmul(self, input: Tensor) -> tuple[bool, bool]:
        """Whether to use matrix products in the forward pass, and in the backward pass."""
        channels_last = input.device.type == "cpu" and input.is_contiguous(memory_format=torch.channels_last_3d)
        same_dtype = input.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        if not channels_last or not same_dtype or torch.compiler.is_compiling():
            return False, False
        frames = input.shape[2:].numel() if self.stride[0] == 1 else input.shape[3:].numel()
        size = frames * self.in_channels * self.out_channels
        # With a stride, frames are not adjacent, and each needs its own small product. That is faster than oneDNN only
        # in the backward pass. A short clip must not reach oneDNN's backward pass at all.
        backward = self.stride[0] > 1 or size >= MIN_BACKWARD or self.is_short(input)
        return self.stride[0] == 1 and size >= MIN_FORWARD, backward


def supports_temporal(conv: nn.Conv3d) -> bool:
    """Whether :class:`TemporalConv3d` can replace ``conv``."""
    frames = conv.kernel_size[0]
    return (
        frames > 1
        and conv.kernel_size[1:] == (1, 1)
        and conv.stride[1:] == (1, 1)
        and conv.padding == (frames // 2, 0, 0)
        and frames % 2 == 1
        and conv.dilation == (1, 1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


class _TemporalConv(torch.autograd.Function):
    """y[t] = bias + sum over taps j of W[j] x[s t + j - T_kernel // 2]; frames outside the clip are zero."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        matmul: bool,
        backward_matmul: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.matmul = stride, backward_matmul
        if not matmul:
            y = conv3d(x, weight, bias, stride=(stride, 1, 1), padding=(weight.shape[2] // 2, 0, 0))
            return y.contiguous(memory_format=torch.channels_last_3d)  # conv3d does not always keep it with one thread
        taps = _taps(weight)
        rows = x.permute(0, 2, 3, 4, 1)
        b, t, h, w, _ = rows.shape
        y = rows.new_empty(b, -(-t // stride), h, w, weight.shape[0])
        for j, source, target in _tap_views(rows, y, len(taps), stride):
            if j != len(taps) // 2:
                target.addmm_(source, taps[j])
            elif bias is None:
                torch.mm(source, taps[j], out=target)
            else:
                torch.addmm(bias, source, taps[j], out=target)
        return y.permute(0, 4, 1, 2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        """dx: the same products with transposed taps. dW[j]: input of tap j, transposed, times the gradient of y."""
        x, weight = ctx.saved_tensors
        dx, dweight = (_matmul_backward if ctx.matmul else _backward)(
            grads[0], x, weight, ctx.stride, ctx.needs_input_grad[0]
        )
        dbias = grads[0].sum((0, 2, 3, 4)) if ctx.needs_input_grad[2] else None
        return dx, dweight, dbias, None, None, None


def _backward(dy: Tensor, x: Tensor, weight: Tensor, stride: int, want_dx: bool) -> tuple[Tensor | None, Tensor]:
    padding, ones, zeros = (weight.shape[2] // 2, 0, 0), (1, 1, 1), (0, 0, 0)
    dx, dweight, _ = torch.ops.aten.convolution_backward(
        dy, x, weight, None, (stride, 1, 1), padding, ones, False, zeros, 1, (want_dx, True, False)
    )
    return dx, dweight


def _matmul_backward(dy: Tensor, x: Tensor, weight: Tensor, stride: int, want_dx: bool) -> tuple[Tensor | None, Tensor]:
    taps, rows = _taps(weight), x.permute(0, 2, 3, 4, 1)
    dy = dy.contiguous(memory_format=torch.channels_last_3d).permute(0, 2, 3, 4, 1)
    dx = (torch.empty_like(rows) if stride == 1 else torch.zeros_like(rows)) if want_dx else None
    if dx is not None:
        for j, source, target in _tap_views(dx, dy, len(taps), stride):
            first = stride == 1 and j == len(taps) // 2
            source.addmm_(target, taps[j].T, beta=0 if first else 1)
    dtaps = torch.zeros_like(taps)
    for j, source, target in _tap_views(rows, dy, len(taps), stride):
        dtaps[j].addmm_(source.T, target)
    dweight = dtaps.permute(2, 1, 0).reshape(weight.shape)
    return None if dx is None else dx.permute(0, 4, 1, 2, 3), dweight


def _taps(weight: Tensor) -> Tensor:
    """[C_out, C, T_kernel, 1, 1] -> [T_kernel, C, C_out]."""
    return weight.flatten(2).permute(2, 1, 0).contiguous()


def _tap_views(x: Tensor, y: Tensor, taps: int, stride: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each tap with views of its input in x [B, T, H, W, C] and of its output in y [B, T_out, H, W, C_out].

    The views are matrices with one row per pixel: of all adjacent frames at once with stride 1, of one frame otherwise.
    The middle tap comes first: it covers every frame of y, and with stride 1 every frame of x, so it can initialize.
    """
    frames, out = x.shape[1], y.shape[1]
    for source, target in zip(x, y, strict=True):
        for j in sorted(range(taps), key=lambda tap: tap != taps // 2):
            shift = j - taps // 2
            first = max(0, -(shift // stride)) if shift < 0 else 0
            last = min(out - 1, (frames - 1 - shift) // stride)
            if stride == 1 and last >= first:
                yield j, source[first + shift : last + 1 + shift].flatten(0, 2), target[first : last + 1].flatten(0, 2)
                continue
            for t in range(first, last + 1):
                yield j, source[stride * t + shift].flatten(0, 1), target[t].flatten(0, 1)
