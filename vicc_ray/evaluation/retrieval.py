"""Nearest-neighbour retrieval: for each test video the nearest train videos, and whether one has its label.

Legend: N videos, Nq queries (test), Ng gallery (train), F features.
Train and test features are each centred on their own mean and scaled to unit norm; similarity is the dot product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vicc_ray.evaluation.interval import hit_interval

KS = (1, 5, 10, 20, 50)
NEIGHBOURS = 5
BLOCK_VALUES = 2**24  # similarities held at once (64 MiB): memory does not grow with Nq x Ng


@dataclass(frozen=True)
class FeatureSet:
    """Features of videos: ``features`` float32 [N, F]; ``labels``, ``sources``, ``ids`` str [N], "" where unknown.

    Raises:
        ValueError: the lengths differ.
    """

    features: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    ids: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", np.asarray(self.features, dtype=np.float32))
        for name in ("labels", "sources", "ids"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=str))
        lengths = {len(self.features), len(self.labels), len(self.sources), len(self.ids)}
        if len(lengths) > 1 or self.features.ndim != 2:
            raise ValueError(
                f"features {self.features.shape} do not fit labels, sources and ids of {sorted(lengths)} videos"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: np.ndarray) -> FeatureSet:
        """The videos that ``keep`` names: a bool mask [N] or an index array."""
        return FeatureSet(self.features[keep], self.labels[keep], self.sources[keep], self.ids[keep])

    def labelled(self) -> FeatureSet:
        """Only the videos that have a label."""
        return self.select(self.labels != "")


@dataclass(frozen=True)
class Retrieval:
    """What retrieval found.

    Attributes:
        recall: for each k the share of labelled queries (0 to 1) with their label among the k nearest.
        hits: bool [Nq], whether the nearest neighbour has the query's label; False for queries without a label.
        neighbours: int64 [Nq, 5], gallery positions, nearest first; -1 where the gallery has no further video.
        interval: 95 % interval of R@1, by bootstrap over the queries.
        queries: number of labelled queries.
        chance: expected R@1 of a neighbour drawn at random.
    """

    recall: dict[int, float]
    hits: np.ndarray
    neighbours: np.ndarray
    interval: tuple[float, float]
    queries: int
    chance: float


def retrieve(
    train: FeatureSet, test: FeatureSet, ks: Sequence[int] = KS, ignore_same_source: bool = False, seed: int = 0
) -> Retrieval:
    """Retrieve each video of ``test`` among ``train``.

    Args:
        ignore_same_source: leave out neighbours that have the query's source ("" is nobody's source). A query that
            has no neighbour left counts as a miss.
        seed: of the bootstrap.

    Raises:
        ValueError: one of the two sets is empty.
    """
    return _retrieve([(train, test)], ks, ignore_same_source, seed)


def retrieve_two(
    train_rgb: FeatureSet,
    test_rgb: FeatureSet,
    train_flow: FeatureSet,
    test_flow: FeatureSet,
    ks: Sequence[int] = KS,
    ignore_same_source: bool = False,
    seed: int = 0,
) -> Retrieval:
    """Retrieve by the sum of the RGB and the flow similarity (R+F).

    Raises:
        ValueError: the two streams do not hold the same videos in the same order, or a set is empty.
    """
    for rgb, flow in ((train_rgb, train_flow), (test_rgb, test_flow)):
        if not np.array_equal(rgb.ids, flow.ids):
            raise ValueError("the RGB and the flow features are not of the same videos in the same order")
    return _retrieve([(train_rgb, test_rgb), (train_flow, test_flow)], ks, ignore_same_source, seed)


def chance_level(train: FeatureSet, test: FeatureSet, ignore_same_source: bool = False) -> float:
    """Expected R@1 over labelled queries when each takes a permitted gallery video at random; NaN without queries."""
    labels = Counter(train.labels.tolist())
    sources = Counter(train.sources.tolist())
    pairs = Counter(zip(train.labels.tolist(), train.sources.tolist(), strict=True))
    shares = []
    for label, source in zip(test.labels.tolist(), test.sources.tolist(), strict=True):
        if label == "":
            continue
        excluded = ignore_same_source and source != ""
        permitted = len(train) - (sources[source] if excluded else 0)
        right = labels[label] - (pairs[label, source] if excluded else 0)
        shares.append(right / permitted if permitted else 0.0)
    return float(np.mean(shares)) if shares else float("nan")


def _retrieve(
    streams: list[tuple[FeatureSet, FeatureSet]], ks: Sequence[int], ignore_same_source: bool, seed: int
) -> Retrieval:
    train, test = streams[0]
    if not len(train) or not len(test):
        raise ValueError(f"retrieval needs train and test videos, given {len(train)} and {len(test)}")
    unit = [(_centred_unit(gallery.features), _centred_unit(queries.features)) for gallery, queries in streams]
    train_labels, test_labels = _codes(train.labels, test.labels)
    train_sources, test_sources = _codes(train.sources, test.sources)
    found = min(max(*ks, NEIGHBOURS), len(train))
    match = np.zeros((len(test), found), dtype=bool)
    neighbours = np.full((len(test), NEIGHBOURS), -1, dtype=np.int64)
    rows = max(1, BLOCK_VALUES // len(train))
    for start in range(0, len(test), rows):
        block = slice(start, start + rows)
        similarity = torch.stack([queries[block] @ gallery.T for gallery, queries in unit]).sum(0)
        if ignore_same_source:
            similarity.masked_fill_(test_sources[block, None] == train_sources[None], -torch.inf)
        nearest = similarity.topk(found)
        permitted = nearest.values > -torch.inf
        match[block] = ((train_labels[nearest.indices] == test_labels[block, None]) & permitted).numpy()
        kept = torch.where(permitted, nearest.indices, -1)[:, :NEIGHBOURS]
        neighbours[block, : kept.shape[1]] = kept.numpy()
    scored = match[test.labels != ""]
    recall = {k: float(scored[:, :k].any(1).mean()) if len(scored) else float("nan") for k in ks}
    return Retrieval(
        recall=recall,
        hits=match[:, 0],
        neighbours=neighbours,
        interval=hit_interval(scored[:, 0], seed),
        queries=len(scored),
        chance=chance_level(train, test, ignore_same_source),
    )


def _centred_unit(features: np.ndarray) -> torch.Tensor:
    values = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    return torch.nn.functional.normalize(values - values.mean(0, keepdim=True), dim=1)


def _codes(train: np.ndarray, test: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Equal names as equal integers; the empty name equals none (-1 in train, -2 in test)."""
    names, codes = np.unique(np.concatenate([train, test]), return_inverse=True)
    codes = codes.reshape(-1)
    unknown = np.concatenate([np.full(len(train), -1), np.full(len(test), -2)])
    known = torch.from_numpy(np.where(names[codes] == "", unknown, codes))
    return known[: len(train)], known[len(train) :]
