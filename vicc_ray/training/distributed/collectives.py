"""The workers of a run as the training core sees them: gather, add up, average, nothing more. W workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of workers; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This worker's number, 0 to W - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def all_gather_uneven(values: Tensor, dim: int = 0, sizes: Sequence[int] | None = None) -> Tensor:
    """Every worker's ``values`` side by side along ``dim``, in the order of ranks; no gradient flows through.

    Args:
        sizes: of every worker along ``dim``, where they differ. They are not asked of the others, since the answer
            would have to be waited for; all workers know them.

    Raises:
        ValueError: ``values`` has another size than ``sizes`` says.
    """
    if world_size() == 1:
        return values.detach()
    own = values.detach()
    sizes = sizes or [own.shape[dim]] * world_size()
    if own.shape[dim] != sizes[rank()]:
        raise ValueError(
            f"worker {rank()} brings {own.shape[dim]} of dimension {dim}; by the plan it is {sizes[rank()]}"
        )
    rest = [max(sizes) - n if d == dim else n for d, n in enumerate(own.shape)]
    padded = torch.cat([own, own.new_zeros(rest)], dim=dim).contiguous()  # a message has one size for all
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part.narrow(dim, 0, size) for part, size in zip(parts, sizes, strict=True)], dim=dim)


def all_reduce_sum_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the workers, in one message."""
    if world_size() == 1:
        return
    listed = list(tensors)
    flat = torch.cat([t.reshape(-1).float() for t in listed])
    dist.all_reduce(flat)
    for t, total in zip(listed, flat.split([t.numel() for t in listed]), strict=True):
        t.copy_(total.view_as(t))


def all_reduce_mean_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the workers, in one message."""
    listed = list(tensors)
    all_reduce_sum_(listed)
    for t in listed:
        t /= world_size()
