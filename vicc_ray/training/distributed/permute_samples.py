"""Exchange of samples among workers by a permutation of the global batch. b samples of this worker, B of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vicc_ray.training.distributed.collectives import rank, world_size
from vicc_ray.utils.to_device import to_device


def draw_permutation(seed: int, epoch: float, samples: int) -> np.ndarray:
    """Permutation of B samples, int64 [B], drawn from the seed and the fractional epoch at which the step starts.

    No two steps of a run start at the same fractional epoch, and a resumed run computes it again.
    """
    return np.random.default_rng([seed, int(np.float64(epoch).view(np.uint64))]).permutation(samples)


def permute_samples(values: Tensor, permutation: np.ndarray, sizes: Sequence[int]) -> Tensor:
    """This worker's slice of ``gathered[permutation]``, where ``gathered`` [B, ...] are the values of all workers.

    Each sample is sent to the one worker that takes it. The host does not wait. Without gradient.
    :func:`numpy.argsort` of the permutation takes the samples back.

    Args:
        values: [b, ...].
        permutation: int64 [B], equal on all workers.
        sizes: number of samples of each worker.
    """
    values = values.detach()
    start, count = sum(sizes[: rank()]), sizes[rank()]
    own = slice(start, start + count)
    if world_size() == 1:
        return values[_on(values, permutation)]
    owners = np.repeat(np.arange(len(sizes)), sizes)
    sources, targets = permutation[own], np.argsort(permutation)[own]
    sent = values[_on(values, np.argsort(targets))].contiguous()
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, _counts(owners[sources], sizes), _counts(owners[targets], sizes))
    # What arrives is ordered by its sender, then by its place.
    places = np.argsort(owners[sources], kind="stable")
    return received[_on(values, np.argsort(places))]


def _counts(workers: np.ndarray, sizes: Sequence[int]) -> list[int]:
    """Number of samples exchanged with each worker."""
    counts: list[int] = np.bincount(workers, minlength=len(sizes)).tolist()
    return counts


def _on(values: Tensor, indices: np.ndarray) -> Tensor:
    return to_device(torch.from_numpy(indices), values.device)
