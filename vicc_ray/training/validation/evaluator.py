"""Retrieval on held-out videos while a run goes on: which, and what their features score. N videos, F features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.clip_store.catalog import Catalog, VideoRecord
from vicc_ray.config import Config
from vicc_ray.evaluation.chance_level import GalleryCounts
from vicc_ray.evaluation.retrieval import FeatureSet, RetrievalResult, retrieve
from vicc_ray.training.validation.split import training_videos, validation_videos


@dataclass(frozen=True)
class ValidationSet:
    """A fixed choice of train and held-out videos, at most ``train.evaluate_videos`` of each.

    Held out are the test videos, or those for validation where ``train.validation_share`` is above 0.
    """

    train: list[VideoRecord]
    test: list[VideoRecord]

    @classmethod
    def choose(cls, entries: Catalog, config: Config) -> ValidationSet | None:
        """Labelled videos of both kinds, evenly drawn; None where there are none to score, or where a score would be
        the same whatever the network: one held-out video, one class."""
        share, most = config.train.validation_share, config.train.evaluate_videos
        train = _labelled(training_videos(entries, share), "train")
        test = validation_videos(entries, share) if share else _labelled(entries, "test")
        parts = [_thin(part, most, config.seed) for part in (train, test)]
        chosen = cls(*parts)
        return chosen if all(parts) and chosen._tells(config) else None

    def _tells(self, config: Config) -> bool:
        train, test = (
            (np.array([e.label for e in part], str), np.array([e.source for e in part], str))
            for part in (self.train, self.test)
        )
        counts = GalleryCounts.of(train, test, config.evaluate.ignore_same_source)
        return len(self.test) > 1 and counts.is_informative(1)

    @property
    def entries(self) -> list[VideoRecord]:
        """The videos to embed: N, those for training first."""
        return self.train + self.test

    def fingerprint(self, config: Config) -> str:
        """16 hexadecimal digits of the videos and of how they are looked at: scores of equal ones can be compared."""
        videos = [[(e.id, e.content, e.frames, e.label, e.source) for e in part] for part in (self.train, self.test)]
        known = json.dumps([videos, config.evaluate.model_dump(mode="json", exclude={"batch", "test_share"})])
        return hashlib.blake2b(known.encode(), digest_size=8).hexdigest()

    def score(self, features: np.ndarray, config: Config) -> RetrievalResult:
        """Retrieval of the test videos among the others, by the features float32 [N, F] of :attr:`entries`."""
        cut = len(self.train)
        return retrieve(
            _feature_set(self.train, features[:cut]),
            _feature_set(self.test, features[cut:]),
            ignore_same_source=config.evaluate.ignore_same_source,
            seed=config.seed,
        )


def validation_skip_reason(entries: Catalog, config: Config) -> str:
    """Why no checkpoint can be scored while training; "" where they are, or where nobody asked for it."""
    if not config.train.evaluate_epochs or ValidationSet.choose(entries, config) is not None:
        return ""
    if not any(entries.column("label")):
        return "no held-out checks while training: they need labels, and no video has one"
    which = "train.validation_share" if config.train.validation_share else "split 'test'"
    return (
        "no held-out checks while training: they need labelled videos of two classes to train on and two or more of "
        f"them held out ({which})"
    )


def _labelled(entries: Catalog, split: str) -> Catalog:
    known = zip(entries.column("split"), entries.column("label"), strict=True)
    return entries.where([bool(label) and its == split for its, label in known])


def _thin(entries: Sequence[VideoRecord], most: int, seed: int) -> list[VideoRecord]:
    if len(entries) <= most:
        return list(entries)
    chosen = np.random.default_rng(seed).choice(len(entries), most, replace=False)
    return [entries[i] for i in sorted(chosen)]


def _feature_set(entries: Sequence[VideoRecord], features: np.ndarray) -> FeatureSet:
    columns = zip(*((e.label, e.source, e.id) for e in entries), strict=True)
    labels, sources, ids = (np.array(c) for c in columns)
    return FeatureSet(features, labels, sources, ids)
