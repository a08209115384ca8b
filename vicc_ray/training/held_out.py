"""Retrieval on held-out videos during training: each worker embeds its part. N videos, F features, W workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vicc_ray.config import Config, Stream
from vicc_ray.evaluation.embedding import embed_videos
from vicc_ray.evaluation.retrieval import FeatureSet, Retrieval, retrieve
from vicc_ray.models.encoder import Encoder
from vicc_ray.training.group import gather, rank, world_size
from vicc_ray.video.entries import Entry
from vicc_ray.video.store import ClipStore


@dataclass(frozen=True)
class HeldOut:
    """A fixed choice of train and test videos, at most ``train.evaluate_videos`` of each."""

    store: ClipStore
    train: list[Entry]
    test: list[Entry]

    @classmethod
    def choose(cls, store: ClipStore, config: Config) -> HeldOut | None:
        """Labelled videos of both splits, evenly drawn; None where there are none to score."""
        most, entries = config.train.evaluate_videos, store.entries
        known = list(zip(entries.column("split"), entries.column("label"), strict=True))
        parts = [
            _thin(entries.where([bool(label) and its == split for its, label in known]), most, config.seed)
            for split in ("train", "test")
        ]
        return cls(store, *parts) if all(parts) else None

    def score(self, encoder: Encoder, stream: Stream, config: Config, device: torch.device) -> Retrieval:
        """Retrieval of one stream's network; the same on every worker. The network comes back in its former mode."""
        training = encoder.training
        encoder.eval()
        entries = self.train + self.test
        features = self._embed(encoder, stream, entries, config, device)
        encoder.train(training)
        cut = len(self.train)
        return retrieve(
            _feature_set(entries[:cut], features[:cut]),
            _feature_set(entries[cut:], features[cut:]),
            ignore_same_source=config.evaluate.ignore_same_source,
            seed=config.seed,
        )

    def _embed(
        self, encoder: Encoder, stream: Stream, entries: Sequence[Entry], config: Config, device: torch.device
    ) -> np.ndarray:
        """Features [N, F] of all entries; worker r embeds every W-th from r on, the last ones wrap around."""
        size = -(-len(entries) // world_size())
        mine = [entries[(rank() + k * world_size()) % len(entries)] for k in range(size)]
        named = {"it": (stream, encoder)}
        own = embed_videos(named, self.store, mine, config.clip, config.evaluate, device)["it"]
        parts = gather(torch.from_numpy(own).to(device).unsqueeze(1), dim=1)
        return parts.flatten(0, 1)[: len(entries)].cpu().numpy()


def _thin(entries: Sequence[Entry], most: int, seed: int) -> list[Entry]:
    if len(entries) <= most:
        return list(entries)
    chosen = np.random.default_rng(seed).choice(len(entries), most, replace=False)
    return [entries[i] for i in sorted(chosen)]


def _feature_set(entries: Sequence[Entry], features: np.ndarray) -> FeatureSet:
    columns = zip(*((e.label, e.source, e.id) for e in entries), strict=True)
    labels, sources, ids = (np.array(c) for c in columns)
    return FeatureSet(features, labels, sources, ids)
