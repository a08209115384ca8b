"""Nearest-neighbor retrieval (R@k): test videos are looked up among train videos, and hit where the labels agree.

N videos, Nq queries (test), Ng gallery videos (train), F features.
Train and test features are each centered on their own mean and scaled to unit norm; similarity is the dot product. A
test set of one video becomes a vector of zeros, to which all videos are equally similar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.evaluation.bootstrap import hit_interval
from vicc_ray.evaluation.chance_level import GalleryCounts
from vicc_ray.evaluation.exclusion import Exclusion, factorize
from vicc_ray.evaluation.knn import nearest
from vicc_ray.evaluation.normalized_features import NormalizedFeatures

KS = (1, 5, 10, 20, 50)
NUM_NEIGHBORS = 5


@dataclass(frozen=True)
class FeatureSet:
    """Features of videos.

    Attributes:
        features: float32 [N, F].
        labels, sources, ids: str [N], "" where unknown.

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
        """Some of the videos, by a bool mask [N] or an index array."""
        return FeatureSet(self.features[keep], self.labels[keep], self.sources[keep], self.ids[keep])

    def labeled(self) -> FeatureSet:
        """The videos that have a label."""
        return self.select(self.labels != "")


@dataclass(frozen=True)
class RetrievalResult:
    """Recall, hits and neighbors of the queries.

    Attributes:
        recall: for each k the fraction of labeled queries (0 to 1) with their label among the k nearest. NaN where it
            would be the same for any features (:meth:`GalleryCounts.is_informative`), and for a single test video
            that is centered on itself.
        hits: bool [Nq], whether the nearest neighbor has the query's label; False for queries without a label.
        neighbors: int64 [Nq, 5], gallery rows, nearest first; -1 where the gallery has no further video.
        interval: 95 % interval of R@1, by bootstrap over the queries; NaN where R@1 is.
        queries: number of labeled queries.
        chance: expected R@1 of a neighbor drawn at random.
        chance_at: for each k the expected R@k of neighbors drawn at random.
    """

    recall: dict[int, float]
    hits: np.ndarray
    neighbors: np.ndarray
    interval: tuple[float, float]
    queries: int
    chance: float
    chance_at: dict[int, float]


def retrieve(
    train: FeatureSet,
    test: FeatureSet,
    ks: Sequence[int] = KS,
    exclude_same_source: bool = False,
    seed: int = 0,
    own_mean: bool = True,
) -> RetrievalResult:
    """Retrieve each video of ``test`` among ``train``.

    Args:
        exclude_same_source: leave out gallery videos that have the query's source; videos of unknown source ("") are
            not left out. A query without candidates counts as a miss.
        seed: of the bootstrap.
        own_mean: center ``test`` on its own mean; else on that of ``train``.

    Raises:
        ValueError: a set is empty.
    """
    return _retrieve([(train, test)], ks, exclude_same_source, seed, own_mean)


def retrieve_two_streams(
    train_rgb: FeatureSet,
    test_rgb: FeatureSet,
    train_flow: FeatureSet,
    test_flow: FeatureSet,
    ks: Sequence[int] = KS,
    exclude_same_source: bool = False,
    seed: int = 0,
    own_mean: bool = True,
) -> RetrievalResult:
    """Retrieve by the sum of the RGB and the flow similarity (R+F); see :func:`retrieve`.

    Raises:
        ValueError: the two streams do not hold the same videos in the same order, or a set is empty.
    """
    for rgb, flow in ((train_rgb, train_flow), (test_rgb, test_flow)):
        if not np.array_equal(rgb.ids, flow.ids):
            raise ValueError("the RGB and the flow features are not of the same videos in the same order")
    return _retrieve([(train_rgb, test_rgb), (train_flow, test_flow)], ks, exclude_same_source, seed, own_mean)


def chance_level(train: FeatureSet, test: FeatureSet, exclude_same_source: bool = False) -> float:
    """Expected R@1 of labeled queries that each retrieve a candidate at random; NaN without labeled queries."""
    return _mean(gallery_counts(train, test, exclude_same_source).chance(1))


def gallery_counts(train: FeatureSet, test: FeatureSet, exclude_same_source: bool = False) -> GalleryCounts:
    """How many videos of ``train`` each labeled query of ``test`` may retrieve, and how many of them are hits."""
    return GalleryCounts.of((train.labels, train.sources), (test.labels, test.sources), exclude_same_source)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _retrieve(
    streams: list[tuple[FeatureSet, FeatureSet]],
    ks: Sequence[int],
    exclude_same_source: bool,
    seed: int,
    own_mean: bool,
) -> RetrievalResult:
    train, test = streams[0]
    if not len(train) or not len(test):
        raise ValueError(f"retrieval needs train and test videos; got {len(train)} and {len(test)}")
    gallery = NormalizedFeatures(*(sets[0].features for sets in streams))
    queries = NormalizedFeatures(*(sets[1].features for sets in streams), like=None if own_mean else gallery)
    train_labels, test_labels = factorize((train.labels, test.labels), (-1, -2))
    exclusion = None
    if exclude_same_source:
        train_sources, test_sources = factorize((train.sources, test.sources), (-1, -2))
        exclusion = Exclusion(test_sources, train_sources)
    _, rows = nearest(queries.rows(0, len(test)), gallery, max(*ks, NUM_NEIGHBORS), exclusion)
    matches = ((train_labels[rows] == test_labels[:, None]) & (rows >= 0)).numpy()
    neighbors = np.full((len(test), NUM_NEIGHBORS), -1, dtype=np.int64)
    neighbors[:, : rows.shape[1]] = rows[:, :NUM_NEIGHBORS].numpy()
    scored = matches[test.labels != ""]
    counts = gallery_counts(train, test, exclude_same_source)
    has_direction = len(test) > 1 or not own_mean  # else the only query is a vector of zeros
    recall = {
        k: _mean(scored[:, :k].any(1)) if has_direction and counts.is_informative(k) else float("nan") for k in ks
    }
    chance_at = {k: _mean(counts.chance(k)) for k in ks}
    return RetrievalResult(
        recall=recall,
        hits=matches[:, 0],
        neighbors=neighbors,
        interval=hit_interval(scored[:, 0], seed)
        if has_direction and counts.is_informative(1)
        else (float("nan"), float("nan")),
        queries=len(scored),
        chance=_mean(counts.chance(1)),
        chance_at=chance_at,
    )
