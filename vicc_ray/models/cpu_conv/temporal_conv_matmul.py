"""Convolutions over time alone, computed as products of matrices. B batch, C channels, T frames, H, W.

On CPUs, oneDNN's 3-D kernels stay below what a product of matrices reaches, some far (``benchmarks/step.json``). With
channels innermost, the frames that one tap of the kernel sees are rows of a matrix that lies in memory as it is needed:
nothing is moved, and each tap adds its product to the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv3d

from vicc_ray.models.padded_conv3d import PaddedConv3d

FORWARD_FROM, BACKWARD_FROM = 32_000_000, 128_000_000
"""Multiplications in the product of one tap and sample from which it is faster than oneDNN, found on two cores
with AVX2 on layers of S3D, where the whole step became 4 to 14 % shorter by it.
"""


class TemporalConv3d(PaddedConv3d):
    """A Conv3d with one pixel in its kernel and as many frames out as in (but for its stride); the same weights."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C_out, T_out, H, W]."""
        forward, backward = self._pays(input)
        if not (forward or (backward and torch.is_grad_enabled())):
            return super().forward(input)
        y: Tensor = _OverTime.apply(input, self.weight, self.bias, self.stride[0], forward, backward)
        return y

    def _pays(self, input: Tensor) -> tuple[bool, bool]:
        """Whether products are possible, and faster forward, and backward."""
        innermost = input.device.type == "cpu" and input.is_contiguous(memory_format=torch.channels_last_3d)
        as_it_is = input.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        if not innermost or not as_it_is or torch.compiler.is_compiling():
            return False, False
        frames = input.shape[2:].numel() if self.stride[0] == 1 else input.shape[3:].numel()
        size = frames * self.in_channels * self.out_channels
        # Frames that do not follow each other make many small products, of use backward alone: oneDNN is slower there.
        # oneDNN's backward pass must not see a short clip at all.
        backward = self.stride[0] > 1 or size >= BACKWARD_FROM or self.is_short(input)
        return self.stride[0] == 1 and size >= FORWARD_FROM, backward


def supports_temporal(conv: nn.Conv3d) -> bool:
    """Whether :class:`TemporalConv3d` computes what this one does."""
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


class _OverTime(torch.autograd.Function):
    """y[t] = bias + sum over taps j of W[j] x[s t + j - T_kernel // 2]; frames beyond the ends are zero."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        by_products: bool,
        backward_by_products: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.by_products = stride, backward_by_products
        if not by_products:
            y = conv3d(x, weight, bias, stride=(stride, 1, 1), padding=(weight.shape[2] // 2, 0, 0))
            return y.contiguous(memory_format=torch.channels_last_3d)  # with one thread it is not always
        taps = _taps(weight)
        rows = x.permute(0, 2, 3, 4, 1)
        b, t, h, w, _ = rows.shape
        y = rows.new_empty(b, -(-t // stride), h, w, weight.shape[0])
        for j, seen, made in _pairs(rows, y, len(taps), stride):
            if j != len(taps) // 2:
                made.addmm_(seen, taps[j])
            elif bias is None:
                torch.mm(seen, taps[j], out=made)
            else:
                torch.addmm(bias, seen, taps[j], out=made)
        return y.permute(0, 4, 1, 2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        """dx: the same products with the transposed taps; dW[j]: what tap j saw, transposed, times what it made."""
        x, weight = ctx.saved_tensors
        dx, dweight = (_backward_by_products if ctx.by_products else _backward)(
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


def _backward_by_products(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, want_dx: bool
) -> tuple[Tensor | None, Tensor]:
    taps, rows = _taps(weight), x.permute(0, 2, 3, 4, 1)
    dy = dy.contiguous(memory_format=torch.channels_last_3d).permute(0, 2, 3, 4, 1)
    dx = (torch.empty_like(rows) if stride == 1 else torch.zeros_like(rows)) if want_dx else None
    if dx is not None:
        for j, seen, made in _pairs(dx, dy, len(taps), stride):
            first = stride == 1 and j == len(taps) // 2
            seen.addmm_(made, taps[j].T, beta=0 if first else 1)
    dtaps = torch.zeros_like(taps)
    for j, seen, made in _pairs(rows, dy, len(taps), stride):
        dtaps[j].addmm_(seen.T, made)
    dweight = dtaps.permute(2, 1, 0).reshape(weight.shape)
    return None if dx is None else dx.permute(0, 4, 1, 2, 3), dweight


def _taps(weight: Tensor) -> Tensor:
    """[C_out, C, T_kernel, 1, 1] -> [T_kernel, C, C_out]."""
    return weight.flatten(2).permute(2, 1, 0).contiguous()


def _pairs(x: Tensor, y: Tensor, taps: int, stride: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each tap with views of what it sees of x [B, T, H, W, C] and adds to in y [B, T_out, H, W, C_out].

    Matrices with a row a pixel: of all frames at once where they follow each other, else of one frame. The tap in the
    middle comes first: it adds to every frame of y, and sees every one of x where the stride is 1.
    """
    frames, out = x.shape[1], y.shape[1]
    for seen, made in zip(x, y, strict=True):
        for j in sorted(range(taps), key=lambda tap: tap != taps // 2):
            shift = j - taps // 2
            first = max(0, -(shift // stride)) if shift < 0 else 0
            last = min(out - 1, (frames - 1 - shift) // stride)
            if stride == 1 and last >= first:
                yield j, seen[first + shift : last + 1 + shift].flatten(0, 2), made[first : last + 1].flatten(0, 2)
                continue
            for t in range(first, last + 1):
                yield j, seen[stride * t + shift].flatten(0, 1), made[t].flatten(0, 1)
