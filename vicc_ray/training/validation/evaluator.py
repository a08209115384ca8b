"""Validation set: retrieval on held-out videos during training. N videos, F features."""

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
    """Fixed sample of gallery and query videos, at most ``train.max_validation_videos`` of each.

    Held out are the test videos, or those for validation where ``train.validation_fraction`` is above 0.
    """

    train: list[VideoRecord]
    test: list[VideoRecord]

    @classmethod
    def choose(cls, entries: Catalog, config: Config) -> ValidationSet | None:
        """Random sample of labeled videos; None without such videos, or where the score does not depend on the network:
        one query, or one class."""
        share, most = config.train.validation_fraction, config.train.max_validation_videos
        train = _labeled(training_videos(entries, share), "train")
        test = validation_videos(entries, share) if share else _labeled(entries, "test")
        parts = [_subsample(part, most, config.seed) for part in (train, test)]
        chosen = cls(*parts)
        return chosen if all(parts) and chosen._is_informative(config) else None

    def _is_informative(self, config: Config) -> bool:
        train, test = (
            (np.array([e.label for e in part], str), np.array([e.source for e in part], str))
            for part in (self.train, self.test)
        )
        counts = GalleryCounts.of(train, test, config.evaluate.exclude_same_source)
        return len(self.test) > 1 and counts.is_informative(1)

    @property
    def entries(self) -> list[VideoRecord]:
        """The N videos to embed, the gallery first."""
        return self.train + self.test

    def fingerprint(self, config: Config) -> str:
        """16 hexadecimal digits of the videos and of the evaluation settings; scores of equal ones are comparable."""
        videos = [[(e.id, e.content, e.frames, e.label, e.source) for e in part] for part in (self.train, self.test)]
        known = json.dumps([videos, config.evaluate.model_dump(mode="json", exclude={"batch_size"})])
        return hashlib.blake2b(known.encode(), digest_size=8).hexdigest()

    def score(self, features: np.ndarray, config: Config) -> RetrievalResult:
        """Retrieval of the queries in the gallery, by the features float32 [N, F] of :attr:`entries`."""
        split = len(self.train)
        return retrieve(
            _feature_set(self.train, features[:split]),
            _feature_set(self.test, features[split:]),
            exclude_same_source=config.evaluate.exclude_same_source,
            seed=config.seed,
        )


def validation_skip_reason(entries: Catalog, config: Config) -> str:
    """Reason why checkpoints are not validated; "" where they are, or where validation is off."""
    if not config.train.validate_every_epochs or ValidationSet.choose(entries, config) is not None:
        return ""
    if not any(entries.column("label")):
        return "no validation during training: it needs labels, and no video has one"
    which = "train.validation_fraction" if config.train.validation_fraction else "split 'test'"
    return (
        "no validation during training: it needs labeled videos of two classes to train on and two or more held-out "
        f"videos of these classes ({which})"
    )


def _labeled(entries: Catalog, split: str) -> Catalog:
    known = zip(entries.column("split"), entries.column("label"), strict=True)
    return entries.where([bool(label) and video_split == split for video_split, label in known])


def _subsample(entries: Sequence[VideoRecord], most: int, seed: int) -> list[VideoRecord]:
    if len(entries) <= most:
        return list(entries)
    chosen = np.random.default_rng(seed).choice(len(entries), most, replace=False)
    return [entries[i] for i in sorted(chosen)]


def _feature_set(entries: Sequence[VideoRecord], features: np.ndarray) -> FeatureSet:
    columns = zip(*((e.label, e.source, e.id) for e in entries), strict=True)
    labels, sources, ids = (np.array(c) for c in columns)
    return FeatureSet(features, labels, sources, ids)
