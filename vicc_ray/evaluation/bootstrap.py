"""95 % intervals by bootstrap: resampling the queries of an evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 2000


def hit_interval(hits: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the rate of ``hits`` (bool [N]): by bootstrap, exact (Clopper-Pearson) where all are alike.

    A resample of hits alone is hits alone: there the bootstrap would claim certainty from any number of queries.
    """
    outcomes = np.asarray(hits, dtype=bool)
    if len(outcomes) and outcomes.all():
        return float(0.025 ** (1 / len(outcomes))), 1.0
    if len(outcomes) and not outcomes.any():
        return 0.0, float(1 - 0.025 ** (1 / len(outcomes)))
    return bootstrap_interval(outcomes, seed)


def bootstrap_interval(values: ArrayLike, seed: int = 0, draws: int = DRAWS) -> tuple[float, float]:
    """Percentile bootstrap interval (2.5 %, 97.5 %) of the mean of ``values``.

    A resample of n values with replacement is fully told by how often each distinct value is drawn, and these counts
    are multinomial: drawing the counts is the same bootstrap without an array of draws x n.

    Args:
        values: one outcome a query [N], e.g. hits (bool) or differences of hits of two networks (-1, 0, 1).
        seed: of the draws; the same values and seed give the same interval.

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
