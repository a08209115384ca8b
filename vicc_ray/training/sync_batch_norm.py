"""Batch normalisation over all workers' samples, on CPU and GPU alike. W workers, B samples, C channels."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from vicc_ray.training.group import world_size


class SyncBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d whose statistics in training come from the samples of all workers.

    Workers may bring different numbers of them. torch's own SyncBatchNorm runs on GPUs only; this one is used on gloo,
    so that a laptop run with several workers computes what a run with one does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same shape."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        mean, var, count = _moments(x)
        self._track(mean.detach(), var.detach(), count)
        scale = self.weight * torch.rsqrt(var + self.eps)
        shape = (1, -1, 1, 1, 1)
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var * (count / (count - 1)), momentum)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance [C] over all workers, with gradient, and the number of values behind each, [1]."""
    dims = (0, 2, 3, 4)
    own = x.new_full((1,), x.numel() // x.shape[1])
    total, count = all_reduce(torch.cat([x.sum(dim=dims), own])).split([x.shape[1], 1])
    count = count.detach()
    mean = total / count
    var = all_reduce((x - mean.detach().view(1, -1, 1, 1, 1)).square().sum(dim=dims)) / count
    # The second sum is taken about the detached mean: its gradient through the mean is zero at that point anyway.
    return mean, var, count


def synchronise(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm3d inside ``module`` by a synchronised one that shares its tensors.

    Does nothing with a single worker.
    """
    if world_size() == 1:
        return module
    if dist.get_backend() == "nccl":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm3d:
            synced = SyncBatchNorm3d(child.num_features, child.eps, child.momentum)
            synced.weight, synced.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(synced, buffer, getattr(child, buffer))
            setattr(module, name, synced)
        else:
            synchronise(child)
    return module
