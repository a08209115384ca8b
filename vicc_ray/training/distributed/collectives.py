"""Collectives over the workers of a run: gather, sum, mean. Without a process group, a single worker. W workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of workers; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Rank of this worker, 0 to W - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def all_gather_uneven(values: Tensor, dim: int = 0, sizes: Sequence[int] | None = None) -> Tensor:
    """Concatenation of all workers' ``values`` along ``dim``, in rank order; without gradient.

    Args:
        sizes: size of each worker's values along ``dim``, where they differ. All workers know them, so no exchange of
            sizes has to be waited for.

    Raises:
        ValueError: ``values`` does not have the size in ``sizes``.
    """
    if world_size() == 1:
        return values.detach()
    local = values.detach()
    sizes = sizes or [local.shape[dim]] * world_size()
    if local.shape[dim] != sizes[rank()]:
        raise ValueError(f"worker {rank()} has size {local.shape[dim]} along dimension {dim}; expected {sizes[rank()]}")
    padding = [max(sizes) - n if d == dim else n for d, n in enumerate(local.shape)]
    padded = torch.cat([local, local.new_zeros(padding)], dim=dim).contiguous()  # all_gather needs equal shapes
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part.narrow(dim, 0, size) for part, size in zip(parts, sizes, strict=True)], dim=dim)


def all_reduce_sum_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over workers, in one message."""
    if world_size() == 1:
        return
    listed = list(tensors)
    flat = torch.cat([t.reshape(-1).float() for t in listed])
    dist.all_reduce(flat)
    for t, total in zip(listed, flat.split([t.numel() for t in listed]), strict=True):
        t.copy_(total.view_as(t))


def all_reduce_mean_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over workers, in one message."""
    listed = list(tensors)
    all_reduce_sum_(listed)
    for t in listed:
        t /= world_size()
