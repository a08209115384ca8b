"""The figures of an epoch: what they are of known embeddings and metrics, and that no step waits for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from tests.gloo import run_workers
from vicc_ray.training.distributed.collectives import rank
from vicc_ray.training.monitoring.epoch_stats import EpochStats, effective_rank

CPU = torch.device("cpu")


def unit(rows: int, columns: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), dim=1)


def health_of(steps: int = 0, **metrics: Any) -> EpochStats:
    """Of 4 prototypes, 3 dimensions and 5 samples a step; ``steps`` are counted with these metrics."""
    health = EpochStats(prototypes=4, embedding=3, batch=5, device=CPU)
    for _ in range(steps):
        health.add({"loss": torch.tensor(1.0), **metrics}, unit(5, 3), data_s=0.1, step_s=0.3)
    return health


@pytest.mark.parametrize("dimensions", [1, 2, 7])
def test_effective_rank_counts_equally_used_dimensions(dimensions: int) -> None:
    embeddings = torch.eye(7)[:dimensions].repeat(5, 1)
    assert effective_rank(embeddings) == pytest.approx(dimensions)


def test_effective_rank_depends_on_neither_scale_nor_rotation_nor_order() -> None:
    embeddings = unit(40, 8) * torch.linspace(1, 3, 8)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))
    expected = effective_rank(embeddings)
    assert 1 < expected < 8
    for same in (1000 * embeddings, embeddings @ rotation, embeddings.flip(0)):
        assert effective_rank(same) == pytest.approx(expected, rel=1e-4)


def test_effective_rank_is_that_of_the_singular_values() -> None:
    embeddings = unit(30, 6)
    p = torch.linalg.svdvals(embeddings.double())
    p = p / p.sum()
    assert effective_rank(embeddings) == pytest.approx(float(torch.exp(-(p * p.log()).sum())))


def test_embeddings_that_all_but_coincide_have_rank_one() -> None:
    nearly = normalize(torch.ones(200, 64) + 1e-6 * torch.randn(200, 64, generator=torch.Generator().manual_seed(0)))
    assert effective_rank(nearly) < 1.01


def test_rank_is_of_the_embeddings_of_all_steps() -> None:
    health = EpochStats(prototypes=4, embedding=6, batch=2, device=CPU)
    parts = [unit(2, 6, seed) for seed in range(10)]
    for part in parts:
        health.add({"loss": torch.tensor(1.0)}, part, 0.0, 1.0)
    assert health.summary()["effective_rank"] == pytest.approx(effective_rank(torch.cat(parts)))


def test_scalars_are_means_and_the_largest_gradient_is_kept() -> None:
    health = health_of()
    for value in (1.0, 2.0, 6.0):
        metrics = {"loss": torch.tensor(value), "gradient_norm": torch.tensor(10 * value), "learning_rate": value}
        health.add(metrics, unit(5, 3), 0.0, 1.0)
    found = health.summary()
    assert (found["loss"], found["gradient_norm"], found["gradient_norm_max"]) == pytest.approx((3.0, 30.0, 60.0))
    assert found["learning_rate"] == 6.0 and found["steps"] == 3


def test_prototypes_are_in_use_that_any_step_of_the_epoch_preferred() -> None:
    health = health_of()
    for choices in ([5, 0, 0, 0], [4, 1, 0, 0], [5, 0, 0, 0]):
        health.add({"loss": torch.tensor(1.0), "first_choices": torch.tensor(choices)}, unit(5, 3), 0.0, 1.0)
    found = health.summary()
    assert found["prototypes_in_use"] == 0.5
    assert 0.25 < found["prototypes_effective"] < 0.5
    evenly = health_of(steps=2, first_choices=torch.tensor([5, 5, 5, 5])).summary()
    assert evenly["prototypes_effective"] == pytest.approx(1.0)


def test_what_steps_do_not_tell_is_left_out() -> None:
    assert not {"prototypes_in_use", "prototypes_effective", "gradient_norm_max"} & set(health_of(steps=1).summary())
    assert health_of().summary() == {}


def test_a_summary_starts_the_next_epoch() -> None:
    health = health_of(steps=3, first_choices=torch.tensor([5, 0, 0, 0]))
    health.summary()
    health.add({"loss": torch.tensor(9.0), "first_choices": torch.tensor([0, 5, 0, 0])}, unit(1, 3), 1.0, 1.0)
    found = health.summary()
    assert (found["steps"], found["loss"], found["prototypes_in_use"]) == (1, 9.0, 0.25)
    assert found["effective_rank"] == pytest.approx(1.0) and found["data_wait_share"] == 0.5


def test_a_step_that_is_no_number_makes_its_epoch_none() -> None:
    found = health_of(steps=2, gradient_norm=torch.tensor(float("inf"))).summary()
    assert found["gradient_norm"] == float("inf") and found["loss"] == 1.0
    broken = health_of()
    broken.add({"loss": torch.tensor(float("nan"))}, torch.full((5, 3), float("nan")), 0.0, 1.0)
    assert all(value != value for name, value in broken.summary().items() if name in ("loss", "effective_rank"))


class Asked(TorchDispatchMode):
    """Whether a value of a tensor was asked for, for which a GPU would have to be waited for."""

    values = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.values |= func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device() -> None:
    health = health_of()
    metrics = {"loss": torch.tensor(1.0), "gradient_norm": torch.tensor(2.0), "first_choices": torch.ones(4)}
    embeddings = unit(5, 3)
    with Asked() as asked:
        for _ in range(3):
            health.add({**metrics, "learning_rate": 0.1}, embeddings, 0.1, 0.1)
    assert not asked.values
    with Asked() as asked:
        health.summary()
    assert asked.values


def times_of_this_worker() -> Tensor:
    health = EpochStats(prototypes=4, embedding=3, batch=5, device=CPU)
    for _ in range(4):
        health.add({"loss": torch.tensor(1.0)}, unit(5, 3), data_s=0.5 * rank(), step_s=0.75)
    found = health.summary()
    return torch.tensor([found["data_wait_share"], found["samples_per_s"], found["memory_peak_mib"]])


def test_times_are_means_and_memory_the_largest_over_the_workers(tmp_path: Path) -> None:
    first, second = run_workers(times_of_this_worker, 2, tmp_path / "meet")
    assert torch.equal(first, second)
    share, samples_per_s, memory = first.tolist()
    assert (share, samples_per_s) == pytest.approx((0.25, 5.0))
    assert memory > 50
