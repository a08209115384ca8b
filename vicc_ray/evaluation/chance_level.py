"""Chance level of retrieval: the hits that any network would get, and the figures that say nothing about a network.

n labeled queries, k neighbors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GalleryCounts:
    """For each labeled query, the gallery videos that it may retrieve.

    Attributes:
        candidates: int [n], how many there are.
        matches: int [n], how many of them have the query's label.
    """

    candidates: np.ndarray
    matches: np.ndarray

    @classmethod
    def of(
        cls,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        exclude_same_source: bool = False,
    ) -> GalleryCounts:
        """Count them. ``train`` and ``test``: labels and sources, str [N] each, "" where unknown."""
        labels, sources = (Counter(column.tolist()) for column in train)
        pairs = Counter(zip(*(column.tolist() for column in train), strict=True))
        counts = []
        for label, source in zip(*(column.tolist() for column in test), strict=True):
            if label == "":
                continue
            excluded = exclude_same_source and source != ""
            candidates = len(train[0]) - (sources[source] if excluded else 0)
            counts.append((candidates, labels[label] - (pairs[label, source] if excluded else 0)))
        columns = np.array(counts, dtype=np.int64).reshape(-1, 2)
        return cls(columns[:, 0], columns[:, 1])

    def select(self, keep: np.ndarray) -> GalleryCounts:
        """The counts of some of the labeled queries, by a bool mask [n]."""
        return GalleryCounts(self.candidates[keep], self.matches[keep])

    @property
    def min_candidates(self) -> int:
        """Candidates of the query that has fewest but not none; 0 where all have none."""
        return int(self.candidates[self.candidates > 0].min(initial=self.candidates.max(initial=0)))

    def chance(self, k: int) -> np.ndarray:
        """Probability of a hit among k candidates drawn at random, float64 [n]."""
        wrong, miss = self.candidates - self.matches, np.ones(len(self.candidates))
        for drawn in range(min(k, int(self.candidates.max(initial=0)))):
            miss *= np.maximum(wrong - drawn, 0) / np.maximum(self.candidates - drawn, 1)
        return np.where(self.matches > 0, 1 - miss, 0.0)

    def is_informative(self, k: int) -> bool:
        """Whether R@k depends on the network.

        It does not where the counts alone make every query a hit or a miss. For k of 2 and more it is taken not to,
        either, where some query has no more than k candidates.
        """
        chance = self.chance(k)
        return bool(((chance > 0) & (chance < 1)).any()) and (k == 1 or k < self.min_candidates)
