"""Bootstrap 95 % confidence intervals over the queries of an evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 2000


def hit_interval(hits: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the rate of ``hits`` (bool [N]).

    It is the bootstrap's, or the exact one (Clopper-Pearson) where all outcomes are equal: resamples of equal outcomes
    are equal, and the bootstrap would claim certainty from any number of queries.
    """
    outcomes = np.asarray(hits, dtype=bool)
    if len(outcomes) and outcomes.all():
        return float(0.025 ** (1 / len(outcomes))), 1.0
    if len(outcomes) and not outcomes.any():
        return 0.0, float(1 - 0.025 ** (1 / len(outcomes)))
    return bootstrap_interval(outcomes, seed)


def bootstrap_interval(values: ArrayLike, seed: int = 0, draws: int = DRAWS) -> tuple[float, float]:
    """Percentile bootstrap interval (2.5 %, 97.5 %) of the mean of ``values``.

    The counts of each distinct value in a resample are multinomial, so drawing the counts is the same bootstrap
    without an array of draws x n.

    Args:
        values: [N], one outcome for each query: hits (bool), or differences of two networks' hits (-1, 0, 1).
        seed: the same values and seed give the same interval.

    Returns:
        (low, high); both NaN where there are no values.
    """
    outcomes, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    if not len(outcomes):
        return float("nan"), float("nan")
    total = int(counts.sum())
    resampled = np.random.default_rng(seed).multinomial(total, counts / total, size=draws)
    low, high = np.percentile(resampled @ outcomes / total, [2.5, 97.5])
    return float(low), float(high)
