"""Feature writer: features of all videos of a store by several networks, in files that are written part by part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.evaluation.feature_store import (
    PART_VIDEOS,
    TEXTS,
    FeatureTable,
    feature_path,
    missing_parts,
    network_fingerprint,
    part_count,
    remove_features,
    write_part,
)
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.inference.embed import StreamWeights, iter_features


def make_features(
    networks: Mapping[str, StreamWeights], store: ClipStore, config: Config, out: Path, progress: bool = True
) -> None:
    """Write the missing parts of ``out/features-<name>`` of every network; parts of the same weights are kept.

    A video is decoded once for all networks, so a part missing for one is computed for all that miss any part.

    Raises:
        UserError: the store is damaged.
    """
    count = len(store.entries)
    for name, network in networks.items():
        if network_fingerprint(feature_path(out, name)) != network.fingerprint:
            remove_features(feature_path(out, name))
    missing = {name: set(missing_parts(feature_path(out, name), count)) for name in networks}
    pending = {name: network for name, network in networks.items() if missing[name]}
    if not pending:
        return
    parts = sorted(set().union(*missing.values()))
    items = [k for part in parts for k in range(part * PART_VIDEOS, min((part + 1) * PART_VIDEOS, count))]
    writer = PartWriter(store, out, {name: network.fingerprint for name, network in pending.items()})
    with ray_session(config.ray):
        for batch in iter_features(pending, store, store.entries, config, items, progress):
            writer.add(batch)


class PartWriter:
    """Writer that collects features in any order and writes a part once it is complete."""

    def __init__(self, store: ClipStore, out: Path, fingerprints: Mapping[str, str]) -> None:
        self._entries, self._out, self._fingerprints = store.entries, out, fingerprints
        self._waiting: dict[int, dict[int, dict[str, np.ndarray]]] = {}
        """Part -> index in the store -> features [F] by network."""

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Add ``item`` int [n] and features [n, F] of every network."""
        for row, item in enumerate(batch["item"].tolist()):
            part = self._waiting.setdefault(item // PART_VIDEOS, {})
            part[item] = {name: batch[name][row] for name in self._fingerprints}
        for number in [number for number, part in self._waiting.items() if len(part) == self._size(number)]:
            self._write(number, self._waiting.pop(number))

    def _size(self, part: int) -> int:
        return min(PART_VIDEOS, len(self._entries) - part * PART_VIDEOS)

    def _write(self, number: int, part: Mapping[int, Mapping[str, np.ndarray]]) -> None:
        first = number * PART_VIDEOS
        entries = self._entries[first : first + len(part)]
        ids, labels, sources, splits = (np.array(entries.column(name), dtype=str) for name in TEXTS)
        for name, fingerprint in self._fingerprints.items():
            features = np.stack([part[item][name] for item in sorted(part)])
            table = FeatureTable(ids, labels, sources, splits, features)
            parts = part_count(len(self._entries))
            write_part(feature_path(self._out, name), number, table, parts, fingerprint)
