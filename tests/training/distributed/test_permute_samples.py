"""Samples on their way to other workers and back: three gloo processes that take 3, 3 and 2 of eight samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.gloo import run_workers
from vicc_ray.training.data.batch_sampler import per_rank_sizes, rank_slice
from vicc_ray.training.distributed.collectives import rank, world_size
from vicc_ray.training.distributed.permute_samples import draw_permutation, permute_samples

BATCH, STEPS = 8, 5
CLIPS = torch.randn(BATCH, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def there_and_back() -> dict[str, Tensor]:
    """Largest differences from this worker's slices of the permuted and of the original batch, over some steps."""
    sizes, own = per_rank_sizes(BATCH, world_size()), rank_slice(BATCH, rank(), world_size())
    clips = CLIPS[own].to(memory_format=torch.channels_last_3d)
    differences = []
    for step in range(STEPS):
        order = draw_permutation(0, step / 3, BATCH)
        shuffled = permute_samples(clips, order, sizes)
        back = permute_samples(shuffled, np.argsort(order), sizes)
        differences.append([(shuffled - CLIPS[order][own]).abs().max(), (back - clips).abs().max()])
    return {"differences": torch.tensor(differences)}


def test_samples_go_to_their_places_and_return() -> None:
    assert not there_and_back()["differences"].any()


def test_samples_of_three_workers_go_to_their_places_and_return(tmp_path: Path) -> None:
    for found in run_workers(there_and_back, 3, tmp_path / "gloo"):
        assert found["differences"].shape == (STEPS, 2) and not found["differences"].any()


def test_each_step_and_each_seed_has_its_own_permutation_and_a_repeated_step_the_same() -> None:
    drawn = [draw_permutation(seed, epoch, 50).tolist() for seed in (0, 1) for epoch in (0.0, 1 / 99, 1.0, 299.98)]
    assert len({tuple(one) for one in drawn}) == len(drawn)
    assert all(sorted(one) == list(range(50)) for one in drawn)
    assert draw_permutation(0, 1 / 99, 50).tolist() == drawn[1]
