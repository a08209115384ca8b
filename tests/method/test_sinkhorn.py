"""Properties of the assignments."""

from __future__ import annotations

import pytest
import torch

from vicc_ray.method.sinkhorn import sinkhorn


def scores(samples: int = 60, prototypes: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.rand(samples, prototypes, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_assignments_of_equal_scores_are_uniform() -> None:
    assert torch.allclose(sinkhorn(torch.zeros(6, 4), 0.05, 3), torch.full((6, 4), 0.25))


def test_rows_sum_to_one_and_prototypes_share_the_samples_equally() -> None:
    q = sinkhorn(scores(), 0.05, 100)
    assert torch.allclose(q.sum(dim=1), torch.ones(60), atol=1e-6)
    assert torch.allclose(q.sum(dim=0), torch.full((7,), 60 / 7), atol=1e-2)


def test_a_constant_added_to_the_scores_of_a_prototype_changes_nothing() -> None:
    shifted = scores() + torch.tensor([0.3, 0, 0, 0, 0, 0, -0.2])
    assert torch.allclose(sinkhorn(scores(), 0.5, 200), sinkhorn(shifted, 0.5, 200), atol=1e-5)


def test_smaller_epsilon_gives_harder_assignments() -> None:
    entropies = [torch.special.entr(sinkhorn(scores(), e, 3)).sum(dim=1).mean() for e in (1.0, 0.2, 0.05, 0.01)]
    assert entropies == sorted(entropies, reverse=True)


@pytest.mark.parametrize("epsilon", [1e-4, 1e-3, 10.0])
def test_extreme_epsilon_stays_finite(epsilon: float) -> None:
    q = sinkhorn(scores(), epsilon, 3)
    assert torch.isfinite(q).all()
    assert torch.allclose(q.sum(dim=1), torch.ones(60), atol=1e-5)


def test_views_are_assigned_independently() -> None:
    first, second = scores(seed=1), scores(seed=2)
    both = sinkhorn(torch.stack([first, second]), 0.05, 3)
    assert torch.allclose(both[0], sinkhorn(first, 0.05, 3))
    assert torch.allclose(both[1], sinkhorn(second, 0.05, 3))


def test_the_order_of_samples_does_not_matter() -> None:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(sinkhorn(scores()[order], 0.05, 3), sinkhorn(scores(), 0.05, 3)[order], atol=1e-6)
