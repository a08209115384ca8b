"""Properties of the loss, the prototypes and the queue."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize, one_hot

from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.loss import cross_view_loss
from vicc_ray.method.prototypes import Prototypes


def test_loss_of_equal_scores_is_ln_k() -> None:
    uniform = torch.full((2, 5, 9), 1 / 9)
    assert math.isclose(cross_view_loss(torch.zeros(2, 5, 9), uniform, [0, 1], 0.1).item(), math.log(9), rel_tol=1e-6)


def test_a_view_does_not_predict_its_own_assignment() -> None:
    target = one_hot(torch.tensor([[0, 1, 2]]), 3).float()
    scores = torch.stack([torch.eye(3), torch.zeros(3, 3)]).requires_grad_()
    cross_view_loss(scores, target, [0], 0.1).backward()
    assert scores.grad is not None
    assert scores.grad[0].abs().max() == 0
    assert scores.grad[1].abs().max() > 0


def test_agreement_costs_less_than_disagreement() -> None:
    target = one_hot(torch.tensor([[0, 1, 2], [0, 1, 2]]), 3).float()
    agree = torch.eye(3).expand(2, 3, 3)
    disagree = agree.roll(1, dims=2)
    assert cross_view_loss(agree, target, [0, 1], 0.1) < cross_view_loss(disagree, target, [0, 1], 0.1)


def test_large_scores_stay_finite() -> None:
    target = one_hot(torch.tensor([[0, 1]]), 2).float()
    assert torch.isfinite(cross_view_loss(torch.tensor([[[1e4, -1e4]] * 2] * 2), target, [0], 1e-3))


def test_prototypes_are_renormalized_to_unit_norm() -> None:
    prototypes = Prototypes(5, 8)
    prototypes.weight.data.mul_(3)
    prototypes.normalize_weights()
    assert torch.allclose(prototypes.weight.norm(dim=1), torch.ones(5))
    assert torch.allclose(prototypes(normalize(prototypes.weight)).diagonal(), torch.ones(5))


def test_queue_is_used_only_when_full_and_keeps_the_newest_first() -> None:
    queue = EmbeddingQueue(1, 6, 2)
    batches = [torch.full((1, 2, 2), float(n)) for n in range(1, 5)]
    for n, batch in enumerate(batches):
        assert queue.ready == (n >= 3)
        queue.push(batch)
    assert queue.rows[0, :, 0].tolist() == [4, 4, 3, 3, 2, 2]


def test_queue_is_restored_from_its_state() -> None:
    queue, copy = EmbeddingQueue(2, 4, 3), EmbeddingQueue(2, 4, 3)
    for n in range(2):
        queue.push(torch.full((2, 2, 3), float(n)))
    copy.load_state_dict(queue.state_dict())
    assert copy.ready
    assert torch.equal(copy.rows, queue.rows)
    copy.clear()
    assert not copy.ready
