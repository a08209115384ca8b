"""What workers exchange, with uneven shares: three gloo processes that take 4, 3 and 3 of ten samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.gloo import run_workers
from vicc_ray.training.data.batch_sampler import per_rank_sizes, rank_slice
from vicc_ray.training.distributed.collectives import (
    all_gather_uneven,
    all_reduce_mean_,
    all_reduce_sum_,
    rank,
    world_size,
)
from vicc_ray.training.distributed.sync_batch_norm import convert_sync_batchnorm

BATCH = 10
CLIPS = torch.randn(BATCH, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 + 5
WANTED = torch.randn(BATCH, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def normalised() -> dict[str, Tensor]:
    """Output and input gradient of this worker's share, weight gradients and running statistics of all of it."""
    norm = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm3d(3)))
    own = rank_slice(BATCH, rank(), world_size())
    x = CLIPS[own].clone().requires_grad_()
    y = norm(x)
    ((y - WANTED[own]) ** 2).sum().backward()
    assert x.grad is not None
    gradients = {name: p.grad.clone() for name, p in norm.named_parameters() if p.grad is not None}
    all_reduce_sum_(gradients.values())
    shared = {"output": y.detach(), "gradient": x.grad}
    sizes = per_rank_sizes(BATCH, world_size())
    together = {name: all_gather_uneven(value, sizes=sizes) for name, value in shared.items()}
    return {**together, **gradients, **{name: value.clone() for name, value in norm.named_buffers()}}


def exchanged() -> dict[str, Tensor]:
    sizes = per_rank_sizes(BATCH, world_size())
    own = rank_slice(BATCH, rank(), world_size())
    rows = torch.arange(2.0 * BATCH).view(2, BATCH)
    mean = torch.tensor([float(rank()), 4.0])
    all_reduce_mean_([mean])
    with pytest.raises(ValueError, match=r"size 5 along dimension 1"):
        all_gather_uneven(torch.zeros(2, 5), dim=1, sizes=sizes)
    return {"rows": all_gather_uneven(rows[:, own], dim=1, sizes=sizes), "mean": mean, **normalised()}


@pytest.mark.slow
def test_three_workers_with_uneven_shares_see_what_one_sees(tmp_path: Path) -> None:
    alone = normalised()
    for found in run_workers(exchanged, 3, tmp_path / "gloo"):
        assert torch.equal(found["rows"], torch.arange(2.0 * BATCH).view(2, BATCH))
        assert found["mean"].tolist() == [1.0, 4.0]
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=f"{name} differs")
