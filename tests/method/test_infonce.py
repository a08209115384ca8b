"""Properties of the loss over instances and of the network that makes its keys."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from vicc_ray.method.infonce import info_nce, matched
from vicc_ray.method.momentum_encoder import MomentumEncoder


def units(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_loss_of_identical_candidates_is_ln_n() -> None:
    alike = units(1, 1, 8).expand(2, 5, 8)
    loss = info_nce(units(2, 3, 8), alike, torch.arange(3), 0.07)
    assert float(loss) == pytest.approx(math.log(5), rel=1e-5)


def test_loss_equals_the_mean_of_the_published_formula() -> None:
    queries, candidates, positives = units(2, 3, 8), units(2, 7, 8, seed=1), torch.tensor([4, 0, 2])
    terms = []
    for q, k in zip(queries, candidates, strict=True):
        similar = (q @ k.T / 0.2).exp()
        terms += [-math.log(similar[i, p] / similar[i].sum()) for i, p in enumerate(positives)]
    assert float(info_nce(queries, candidates, positives, 0.2)) == pytest.approx(sum(terms) / 6, rel=1e-5)


def test_the_gradient_pulls_a_query_towards_its_positive() -> None:
    queries = units(1, 3, 8).requires_grad_()
    keys = units(1, 6, 8, seed=1)
    info_nce(queries, keys, torch.arange(3), 0.07).backward()
    assert queries.grad is not None
    moved = queries.detach() - 0.01 * queries.grad
    before, after = ((x[0] * keys[0, :3]).sum(dim=1) for x in (queries.detach(), moved))
    assert (after > before).all()


def test_sharp_temperatures_stay_finite() -> None:
    assert torch.isfinite(info_nce(units(1, 3, 8), units(1, 6, 8, seed=1), torch.arange(3), 1e-3))


def test_accuracy_is_the_fraction_of_queries_nearest_to_their_own_key() -> None:
    keys = units(1, 5, 64)
    assert float(matched(keys[:, :4], keys, torch.tensor([0, 1, 2, 4]))) == 0.75


def network(value: float) -> nn.Sequential:
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for tensor in [*made.parameters(), *made.buffers()]:
            tensor.fill_(value)
    return made


def test_the_average_is_a_plain_mean_at_first_and_exponential_later() -> None:
    keys = MomentumEncoder(network(100.0), 0.8)
    seen = []
    for step in range(8):
        keys.update(network(float(step)))
        seen.append(float(keys.network[0].weight[0, 0]))
        buffers = dict(keys.network.named_buffers())
        assert float(buffers["1.running_mean"][0]) == seen[-1]
        assert int(buffers["1.num_batches_tracked"]) == step
    assert seen[:5] == pytest.approx([0, 0.5, 1, 1.5, 2])  # means of 0, of 0 and 1, ...
    assert seen[5] == pytest.approx(0.8 * seen[4] + 0.2 * 5)
    assert seen[7] == pytest.approx(0.8 * seen[6] + 0.2 * 7)


def test_the_momentum_encoder_has_no_gradients_and_is_restored_from_its_state() -> None:
    keys, copy = MomentumEncoder(network(1.0), 0.8), MomentumEncoder(network(2.0), 0.8)
    assert not any(p.requires_grad for p in keys.parameters())
    assert not keys.network.training
    for _ in range(3):
        keys.update(network(3.0))
    copy.load_state_dict(keys.state_dict())
    assert copy.steps == 3
    assert torch.equal(copy.network[0].weight, keys.network[0].weight)
