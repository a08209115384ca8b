"""Synchronized batch normalization on CPU and GPU. W workers, B samples, C channels.

torch's SyncBatchNorm has no CPU implementation, and on GPUs it waits for the device once per layer: it masks out
workers without samples, and the host must know the size of the mask. Here every worker has samples, so the host never
waits, and a laptop run with several workers computes what a run with one does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.training.distributed.collectives import world_size

REDUCED_DIMS = (0, 2, 3, 4)
"""All dimensions except channels."""


class SyncBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d with statistics over the samples of all workers; workers may hold different numbers of samples."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same shape."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        mean, var, count = moments(x)
        self._track(mean, var, count)
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        y: Tensor = _Normalize.apply(x, weight, bias, mean, var, count, self.eps)
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
    """Mean and biased variance [C] over all workers' x [B, C, T, H, W], and the number of values per channel, [1].

    Each worker sends its mean, its squared deviations and its count in one message. Unlike a difference of sums of
    squares, this does not cancel (Chan, Golub and LeVeque, 1979).
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    local_var, local_mean = torch.var_mean(x, REDUCED_DIMS, correction=0)
    local_count = local_mean.new_full((1,), x.numel() // x.shape[1])
    message = torch.cat([local_mean, local_var * local_count, local_count])
    messages = [torch.empty_like(message) for _ in range(world_size())]
    dist.all_gather(messages, message)
    channels = x.shape[1]
    means, deviations, counts = torch.stack(messages).split([channels, channels, 1], dim=1)
    count = counts.sum(dim=0)
    mean = (means * counts).sum(dim=0) / count
    var = (deviations + counts * (means - mean).square()).sum(dim=0) / count
    return mean, var, count


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, with the gradient through mean and variance of all workers.

    Saves x and 2 C numbers for the backward pass, like batch norm on one worker.
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

        Batch norm with fixed statistics gives the first term and this worker's sums of dy x^ and dy, which are the
        gradients of weight and bias.
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
    """Replace every BatchNorm3d inside ``module`` by a synchronized one that shares its tensors.

    A no-op with a single worker.
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
