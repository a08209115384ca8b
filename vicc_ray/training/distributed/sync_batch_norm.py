"""Batch normalisation over all workers' samples, on CPU and GPU alike. W workers, B samples, C channels.

Instead of torch's own SyncBatchNorm, which has no CPU form and, on GPUs, waits for the device once a layer (it leaves
out workers without samples by a mask that the host must know the size of). Here every worker has samples, so nothing
is asked of the device, and a laptop run with several workers computes what a run with one does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.training.distributed.collectives import world_size

OVER = (0, 2, 3, 4)
"""All dimensions but the channels."""


class SyncBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d whose statistics in training come from the samples of all workers, however many each one has."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same shape."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        mean, var, count = moments(x)
        self._track(mean, var, count)
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        y: Tensor = _Normalise.apply(x, weight, bias, mean, var, count, self.eps)
        return y

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        assert self.momentum is not None, "a cumulative average would need the number of batches from the device"
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (count / (count - 1)), self.momentum)


@torch.no_grad()
def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance [C] over all workers' x [B, C, T, H, W], and the number of values behind each, [1].

    Each worker sends its own mean, squared deviations about it, and count: one message, and nothing cancels as it would
    in a difference of sums of squares (Chan, Golub and LeVeque, 1979).
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    own_var, own_mean = torch.var_mean(x, OVER, correction=0)
    own_count = own_mean.new_full((1,), x.numel() // x.shape[1])
    message = torch.cat([own_mean, own_var * own_count, own_count])
    found = [torch.empty_like(message) for _ in range(world_size())]
    dist.all_gather(found, message)
    channels = x.shape[1]
    means, deviations, counts = torch.stack(found).split([channels, channels, 1], dim=1)
    count = counts.sum(dim=0)
    mean = (means * counts).sum(dim=0) / count
    var = (deviations + counts * (means - mean).square()).sum(dim=0) / count
    return mean, var, count


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, whose gradient knows that mean and variance are all workers'.

    Keeps x and 2 C numbers for the backward pass, as batch norm on one worker does.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, count: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps = eps
        return functional.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """dx = w s (dy - mean(dy) - x^ mean(dy x^)); s = 1 / sqrt(var + eps), x^ = (x - mean) s; all workers' means.

        The first term and this worker's sums of dy x^ and dy (the gradients of weight and bias, which are added up
        with all others later) come from batch norm with fixed statistics.
        """
        x, weight, mean, var, count = ctx.saved_tensors
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([dweight, dbias])
        dist.all_reduce(sums)
        mean_dy_x, mean_dy = sums / count
        scale = torch.rsqrt(var + ctx.eps)
        slope = weight * scale * scale * mean_dy_x
        offset = weight * scale * mean_dy - slope * mean
        shape = (1, -1, 1, 1, 1)
        dx.addcmul_(x, slope.view(shape), value=-1).sub_(offset.view(shape))
        return dx, dweight, dbias, None, None, None, None


def convert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm3d inside ``module`` by a synchronised one that shares its tensors.

    Does nothing with a single worker.
    """
    if world_size() == 1:
        return module
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm3d:
            synced = SyncBatchNorm3d(child.num_features, child.eps, child.momentum)
            synced.weight, synced.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(synced, buffer, getattr(child, buffer))
            setattr(module, name, synced)
        else:
            convert_sync_batchnorm(child)
    return module
