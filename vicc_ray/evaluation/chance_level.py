"""What retrieval finds whatever the network is: the chance of a hit, and which figures it leaves nothing to tell.

n labelled queries, Ng gallery videos, k neighbours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Galleries:
    """Of each labelled query how many videos it may find, and how many of them have its label: int [n] both."""

    permitted: np.ndarray
    right: np.ndarray

    @classmethod
    def of(
        cls,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        ignore_same_source: bool = False,
    ) -> Galleries:
        """``train`` and ``test``: labels and sources, str [N] each, "" where unknown."""
        labels, sources = (Counter(column.tolist()) for column in train)
        pairs = Counter(zip(*(column.tolist() for column in train), strict=True))
        total, found = len(train[0]), []
        for label, source in zip(*(column.tolist() for column in test), strict=True):
            if label == "":
                continue
            excluded = ignore_same_source and source != ""
            permitted = total - (sources[source] if excluded else 0)
            found.append((permitted, labels[label] - (pairs[label, source] if excluded else 0)))
        counts = np.array(found, dtype=np.int64).reshape(-1, 2)
        return cls(counts[:, 0], counts[:, 1])

    def select(self, chosen: np.ndarray) -> Galleries:
        """Those of some of the labelled queries, bool [n]."""
        return Galleries(self.permitted[chosen], self.right[chosen])

    @property
    def smallest(self) -> int:
        """Videos of the smallest gallery that is not empty; 0 where all are."""
        return int(self.permitted[self.permitted > 0].min(initial=self.permitted.max(initial=0)))

    def chance(self, k: int) -> np.ndarray:
        """The probability that one of k neighbours drawn at random is right, float64 [n]."""
        wrong, missed = self.permitted - self.right, np.ones(len(self.permitted))
        for drawn in range(min(k, int(self.permitted.max(initial=0)))):
            missed *= np.maximum(wrong - drawn, 0) / np.maximum(self.permitted - drawn, 1)
        return np.where(self.right > 0, 1 - missed, 0.0)

    def tells(self, k: int) -> bool:
        """Whether R@k tells something of the network.

        It does not where every query hits or misses by the counts alone, and, for k of 2 and more, where a query has no
        more than k videos to find.
        """
        chance = self.chance(k)
        return bool(((chance > 0) & (chance < 1)).any()) and (k == 1 or k < self.smallest)
