"""Linear classifier on features of whole videos, fitted in seconds and always with the same result.

Features are scaled to unit norm, then standardized by the training videos, as batch norm does that sees all of them at
once. The classifier is scikit-learn's multinomial logistic regression with an L2 penalty. Training sources held out for
it choose the penalty; test videos never do. N videos, F features, K classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
"""L2 penalties of the mean loss to choose from, from strong to weak."""
HELD_OUT = 0.2
"""Fraction of the training sources that chooses the penalty."""
MAX_ITERATIONS, TOLERANCE = 100, 1e-6
EPSILON = 1e-5
"""Added to the variance, as batch norm does."""


@dataclass(frozen=True)
class QuickProbe:
    """A fitted classifier.

    Attributes:
        mean, deviation: float32 [F], of the unit-norm features of the training videos.
        model: knows the classes that it was fitted to; the others have probability 0.
        classes: K.
        penalty: the chosen one.
        held_out_accuracy: by penalty the accuracy on the held-out sources; empty where none could be held out.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    model: LogisticRegression | DummyClassifier
    classes: int
    penalty: float
    held_out_accuracy: dict[float, float]

    def probabilities(self, features: np.ndarray) -> NDArray[np.float32]:
        """Class probabilities float32 [N, K] of features [N, F]."""
        probabilities = np.zeros((len(features), self.classes), np.float32)
        standardized = (_unit_norm(features) - self.mean) / self.deviation
        probabilities[:, self.model.classes_] = self.model.predict_proba(standardized)
        return probabilities


def fit_quick_probe(
    features: np.ndarray, labels: np.ndarray, sources: np.ndarray, classes: int, seed: int = 0
) -> QuickProbe:
    """Fit a probe to the training videos.

    Args:
        features: [N, F].
        labels: int [N], 0 to K - 1.
        sources: str [N]; a video whose source is unknown ("") is its own source.
        classes: K.
        seed: of the choice of held-out sources.
    """
    unit, labels, held_out = _unit_norm(features), np.asarray(labels, np.int64), _held_out(sources, seed)
    # One thread: the number of partial sums changes rounding, and threads that wait for each other on a busy machine
    # took over ten times as long for 240 videos.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that stops early is a candidate like the others
        accuracy: dict[float, float] = {}
        if held_out.any() and not held_out.all():
            accuracy = _try_penalties(unit, labels, held_out)
        # Of equally good penalties the strongest; without held-out sources the middle one.
        penalty = max(accuracy, key=lambda p: (accuracy[p], p)) if accuracy else PENALTIES[len(PENALTIES) // 2]
        mean, deviation = _moments(unit)
        model = _fit((unit - mean) / deviation, labels, penalty)
    return QuickProbe(mean, deviation, model, classes, penalty, accuracy)


def _try_penalties(unit: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> dict[float, float]:
    """Accuracy on the held-out videos by penalty, of classifiers fitted to the other videos."""
    mean, deviation = _moments(unit[~held_out])
    x = (unit - mean) / deviation
    return {
        penalty: float(_fit(x[~held_out], labels[~held_out], penalty).score(x[held_out], labels[held_out]))
        for penalty in PENALTIES
    }


def _fit(x: np.ndarray, labels: np.ndarray, penalty: float) -> LogisticRegression | DummyClassifier:
    """The classifier of least mean cross-entropy + penalty / 2 |weight|^2; a constant one where there is one class."""
    present = len(np.unique(labels))
    if present == 1:
        return DummyClassifier().fit(x, labels)
    # Of two classes scikit-learn fits the difference of their weights, whose square is twice the sum of theirs.
    strength = (2 if present == 2 else 1) / (penalty * len(x))
    return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS, tol=TOLERANCE).fit(x, labels)


def _held_out(sources: np.ndarray, seed: int) -> np.ndarray:
    """Which training videos choose the penalty, bool [N]: all or none of a source."""
    filled = np.array([source or f"\0{n}" for n, source in enumerate(np.asarray(sources, dtype=str).tolist())])
    names = np.unique(filled)
    chosen = np.random.default_rng(seed).permutation(names)[: round(HELD_OUT * len(names))]
    return np.isin(filled, chosen)


def _unit_norm(features: np.ndarray) -> NDArray[np.float32]:
    return np.asarray(normalize(np.asarray(features, np.float32)))


def _moments(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return unit.mean(axis=0), np.sqrt(unit.var(axis=0) + np.float32(EPSILON))
