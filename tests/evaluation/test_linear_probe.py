"""Linear probe: separates linear classes, chooses its penalty on held-out sources, and is deterministic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from vicc_ray.evaluation.linear_probe import EPSILON, PENALTIES, fit_quick_probe

CLASSES, WIDTH = 4, 16
NONE = np.full(1000, "")


def blobs(videos: int, seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Features around one direction a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(videos) % CLASSES
    return np.eye(CLASSES, WIDTH)[labels] + spread * rng.normal(size=(videos, WIDTH)), labels


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def test_separable_classes_are_classified_without_error() -> None:
    (train, labels), (test, truth) = blobs(80, 0, 0.1), blobs(40, 1, 0.1)
    probabilities = fit_quick_probe(train, labels, NONE[:80], CLASSES).probabilities(test)
    assert accuracy(probabilities, truth) == 1.0
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_scale_and_shift_of_features_do_not_matter() -> None:
    train, labels = blobs(80, 0, 0.5)
    test, _ = blobs(40, 1, 0.5)
    expected = fit_quick_probe(train, labels, NONE[:80], CLASSES).probabilities(test)
    longer = fit_quick_probe(5 * train, labels, NONE[:80], CLASSES).probabilities(100 * test)
    np.testing.assert_allclose(longer, expected, atol=1e-4)


def test_the_probe_is_deterministic_and_leaves_torchs_generator_alone() -> None:
    train, labels = blobs(80, 0, 1.0)
    torch.manual_seed(0)
    first = fit_quick_probe(train, labels, NONE[:80], CLASSES)
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), after)
    second = fit_quick_probe(train, labels, NONE[:80], CLASSES)
    assert np.array_equal(first.probabilities(train), second.probabilities(train))
    assert (first.penalty, first.held_out_accuracy) == (second.penalty, second.held_out_accuracy)


def test_noise_gets_the_largest_penalty_and_all_penalties_are_tried() -> None:
    rng = np.random.default_rng(0)
    signal, labels = blobs(400, 0, 3.0)
    noise = rng.normal(size=(400, 200))
    probe = fit_quick_probe(np.concatenate([signal, noise], axis=1), labels, NONE[:400], CLASSES)
    assert set(probe.held_out_accuracy) == set(PENALTIES)
    assert probe.held_out_accuracy[probe.penalty] == max(probe.held_out_accuracy.values())
    assert probe.penalty >= 0.1


def test_a_source_is_held_out_as_a_whole() -> None:
    """Every source has a direction of its own: with one of its videos in training, the others are easy."""
    rng = np.random.default_rng(0)
    sources, labels = np.repeat(np.arange(40), 5), np.repeat(rng.integers(CLASSES, size=40), 5)
    features = np.eye(40)[sources] + 0.01 * rng.normal(size=(200, 40))
    leaking = fit_quick_probe(features, labels, NONE[:200], CLASSES)
    honest = fit_quick_probe(features, labels, sources.astype(str), CLASSES)
    assert max(leaking.held_out_accuracy.values()) == 1.0
    assert max(honest.held_out_accuracy.values()) < 0.6


def test_a_single_source_leaves_no_choice_of_penalty() -> None:
    train, labels = blobs(20, 0, 0.1)
    probe = fit_quick_probe(train, labels, np.full(20, "one film"), CLASSES)
    assert (probe.held_out_accuracy, probe.penalty) == ({}, PENALTIES[2])


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_penalized_loss_has_zero_gradient_at_the_solution(classes: int) -> None:
    """The gradient of the mean cross-entropy + penalty / 2 |weight|^2 vanishes, for two classes as for more."""
    features, labels = blobs(120, 0, 0.5)
    features, labels = features[labels < classes], labels[labels < classes]
    probe = fit_quick_probe(features, labels, np.full(len(labels), "one film"), classes)
    unit = normalize(torch.from_numpy(features), dim=1)
    x = (unit - unit.mean(0)) / (unit.var(0, correction=0) + EPSILON).sqrt()
    # Logits are centered logarithms of the probabilities; a least-squares fit gives the weights that make them.
    logits = torch.from_numpy(probe.probabilities(features)).double().log()
    logits = logits - logits.mean(dim=1, keepdim=True)
    weight = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], dim=1), logits).solution.requires_grad_()
    prediction = x @ weight[:-1] + weight[-1]
    loss = cross_entropy(prediction, torch.from_numpy(labels)) + probe.penalty / 2 * weight[:-1].square().sum()
    loss.backward()
    assert weight.grad is not None and weight.grad.abs().max() < 1e-4


def test_a_class_without_training_videos_has_probability_zero() -> None:
    train, labels = blobs(40, 0, 0.1)
    seen = labels != 2
    for keep in (seen, labels == 0):  # three classes, and one
        probe = fit_quick_probe(train[keep], labels[keep], NONE[: keep.sum()], CLASSES)
        probabilities = probe.probabilities(train)
        assert (probabilities[:, 2] == 0).all() and probabilities.shape == (40, CLASSES)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
        assert accuracy(probabilities[keep], labels[keep]) == 1.0
