"""The workers of a run as the training core sees them: gather, average, nothing more. W workers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of workers; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This worker's number, 0 to W - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather(values: Tensor, dim: int = 0) -> Tensor:
    """Every worker's ``values`` side by side along ``dim``, in the order of ranks; no gradient flows through."""
    if world_size() == 1:
        return values.detach()
    own = values.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(parts, own)
    return torch.cat(parts, dim=dim)


def average_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the workers, in one message."""
    if world_size() == 1:
        return
    listed = list(tensors)
    flat = torch.cat([t.reshape(-1).float() for t in listed])
    dist.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for t in listed:
        t.copy_(flat[offset : offset + t.numel()].view_as(t))
        offset += t.numel()
