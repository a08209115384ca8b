"""Nearest-neighbour retrieval: for each test video the nearest train videos, and whether one has its label.

Legend: N videos, Nq queries (test), Ng gallery (train), F features.
Train and test features are each centred on their own mean and scaled to unit norm; similarity is the dot product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.evaluation.interval import hit_interval
from vicc_ray.evaluation.nearest import CentredUnit, Exclusion, codes, nearest

KS = (1, 5, 10, 20, 50)
NEIGHBOURS = 5


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
    gallery, queries = (CentredUnit(*(sets[part].features for sets in streams)) for part in (0, 1))
    train_labels, test_labels = codes((train.labels, test.labels), (-1, -2))
    exclusion = None
    if ignore_same_source:
        train_sources, test_sources = codes((train.sources, test.sources), (-1, -2))
        exclusion = Exclusion(test_sources, train_sources)
    _, rows = nearest(queries.rows(0, len(test)), gallery, max(*ks, NEIGHBOURS), exclusion)
    match = ((train_labels[rows] == test_labels[:, None]) & (rows >= 0)).numpy()
    neighbours = np.full((len(test), NEIGHBOURS), -1, dtype=np.int64)
    neighbours[:, : rows.shape[1]] = rows[:, :NEIGHBOURS].numpy()
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
