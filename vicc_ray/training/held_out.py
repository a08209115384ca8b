"""Retrieval on held-out videos while a run goes on: which, and what their features score. N videos, F features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.config import Config
from vicc_ray.evaluation.retrieval import FeatureSet, Retrieval, retrieve
from vicc_ray.video.entries import Entries, Entry


@dataclass(frozen=True)
class HeldOut:
    """A fixed choice of train and test videos, at most ``train.evaluate_videos`` of each."""

    train: list[Entry]
    test: list[Entry]

    @classmethod
    def choose(cls, entries: Entries, config: Config) -> HeldOut | None:
        """Labelled videos of both splits, evenly drawn; None where there are none to score."""
        most = config.train.evaluate_videos
        known = list(zip(entries.column("split"), entries.column("label"), strict=True))
        parts = [
            _thin(entries.where([bool(label) and its == split for its, label in known]), most, config.seed)
            for split in ("train", "test")
        ]
        return cls(*parts) if all(parts) else None

    @property
    def entries(self) -> list[Entry]:
        """The videos to embed: N, those for training first."""
        return self.train + self.test

    def score(self, features: np.ndarray, config: Config) -> Retrieval:
        """Retrieval of the test videos among the others, by the features float32 [N, F] of :attr:`entries`."""
        cut = len(self.train)
        return retrieve(
            _feature_set(self.train, features[:cut]),
            _feature_set(self.test, features[cut:]),
            ignore_same_source=config.evaluate.ignore_same_source,
            seed=config.seed,
        )


def _thin(entries: Sequence[Entry], most: int, seed: int) -> list[Entry]:
    if len(entries) <= most:
        return list(entries)
    chosen = np.random.default_rng(seed).choice(len(entries), most, replace=False)
    return [entries[i] for i in sorted(chosen)]


def _feature_set(entries: Sequence[Entry], features: np.ndarray) -> FeatureSet:
    columns = zip(*((e.label, e.source, e.id) for e in entries), strict=True)
    labels, sources, ids = (np.array(c) for c in columns)
    return FeatureSet(features, labels, sources, ids)
