"""A linear classifier fitted to features of whole videos in seconds, in this process and always alike.

Features of unit norm, normalised by the mean and deviation of the training videos (what batch norm comes to when it
sees all of them at once), then multinomial logistic regression with an L2 penalty by L-BFGS. The penalty is chosen on
training sources that are held out for it, never on test videos. N videos, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
"""Of the mean loss, tried from strong to weak."""
HELD_OUT = 0.2
"""Share of the training sources that chooses among them."""
STEPS = 100
EPSILON = 1e-5
"""Added to the variance, as batch norm does."""


@dataclass(frozen=True)
class QuickProbe:
    """A fitted classifier.

    Attributes:
        penalty: the chosen one.
        tried: by penalty the accuracy on the held-out sources; empty where none could be held out.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float
    tried: dict[float, float]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """[N, F] -> float32 [N, K]."""
        x = (_unit(features) - self.mean) / self.deviation
        return (x @ self.weight.T + self.bias).softmax(dim=1).numpy()


def fit_quick_probe(
    features: np.ndarray, labels: np.ndarray, sources: np.ndarray, classes: int, seed: int = 0
) -> QuickProbe:
    """Fit to the training videos.

    Args:
        features: [N, F]; ``labels``: int [N], 0 to K - 1; ``sources``: str [N], "" where unknown: then each video is
            its own.
        classes: K.
        seed: of the choice of held-out sources.
    """
    unit, truth = _unit(features), torch.from_numpy(np.asarray(labels, np.int64))
    held_out = torch.from_numpy(_held_out(sources, seed))
    tried: dict[float, float] = {}
    with _one_thread():
        if held_out.any() and not held_out.all():
            tried = _try_all(unit, truth, held_out, classes)
        # Of equally good ones the strongest; without a choice the middle one.
        penalty = max(tried, key=lambda p: (tried[p], p)) if tried else PENALTIES[len(PENALTIES) // 2]
        mean, deviation = _moments(unit)
        weight, bias = _fit((unit - mean) / deviation, truth, classes, penalty)
    return QuickProbe(mean, deviation, weight, bias, penalty, tried)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of parts are rounded by their number; and on a busy machine threads that wait for each other took over ten
    times as long for 240 videos.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _try_all(unit: Tensor, truth: Tensor, held_out: Tensor, classes: int) -> dict[float, float]:
    mean, deviation = _moments(unit[~held_out])
    x = (unit - mean) / deviation
    found = {}
    for penalty in PENALTIES:
        weight, bias = _fit(x[~held_out], truth[~held_out], classes, penalty)
        guesses = (x[held_out] @ weight.T + bias).argmax(dim=1)
        found[penalty] = float((guesses == truth[held_out]).float().mean())
    return found


def _fit(x: Tensor, truth: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight [K, F] and bias [K] with the least mean cross-entropy + penalty / 2 |weight|^2."""
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(x @ weight.T + bias, truth) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weight.detach(), bias.detach()


def _held_out(sources: np.ndarray, seed: int) -> np.ndarray:
    """Which training videos choose the penalty, bool [N]: all or none of a source."""
    own = np.array([source or f"\0{n}" for n, source in enumerate(np.asarray(sources, dtype=str).tolist())])
    names = np.unique(own)
    chosen = np.random.default_rng(seed).permutation(names)[: round(HELD_OUT * len(names))]
    return np.isin(own, chosen)


def _unit(features: np.ndarray) -> Tensor:
    return functional.normalize(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)), dim=1)


def _moments(unit: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(unit, dim=0, correction=0)
    return mean, (variance + EPSILON).sqrt()
