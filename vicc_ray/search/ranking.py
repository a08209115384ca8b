"""Ranking of indexed videos by similarity to a query, in two steps.

Similarity is the cosine of centered features: the mean over all videos is subtracted. First all videos are ranked by
their mean feature. Then the best are ranked by their windows: the score is the mean, over the windows of the query, of
the cosine with the nearest window of the video. A copy scores 1 if the same windows are compared, and so does a longer
video that contains the query.
N videos, m windows of the query, n of a video, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.search.features import Floats
from vicc_ray.search.index_format import unit_norm
from vicc_ray.search.reader import SearchIndex, VideoWindows

CANDIDATES = 100
"""Videos that the second step compares."""


@dataclass(frozen=True)
class Query:
    """Window features float32 [m, F], and the row in the index if the query is an indexed video."""

    windows: Floats
    row: int | None = None


@dataclass(frozen=True)
class Hit:
    """Result: row, cosine score (-1 to 1), and the span most similar to the query, in seconds."""

    row: int
    score: float
    start: float
    end: float


def query_of_row(index: SearchIndex, row: int) -> Query:
    """Query from an indexed video."""
    (windows,) = index.windows([row])
    return Query(windows.features, row)


def search(index: SearchIndex, query: Query, k: int) -> list[Hit]:
    """The ``k`` most similar videos, best first, ties in index order; the query itself is excluded.

    Raises:
        UserError: a part of the index is damaged.
    """
    (hits,) = search_all(index, [query], k)
    return hits


def search_all(index: SearchIndex, queries: Sequence[Query], k: int) -> list[list[Hit]]:
    """Results of several queries; the mean features are read once for all."""
    means = unit_norm(np.stack([query.windows.mean(axis=0) for query in queries]) - index.mean)
    similarity = index.similarity(means)
    return [_ranked(index, query, row, k) for query, row in zip(queries, similarity, strict=True)]


def median_score(index: SearchIndex, query: Query) -> float:
    """Median cosine between the query and all videos, by mean features: a baseline for reading the scores."""
    mean = unit_norm(query.windows.mean(axis=0, keepdims=True) - index.mean)
    (similarity,) = index.similarity(mean)
    return float(np.median(np.delete(similarity, [] if query.row is None else [query.row])))


def _ranked(index: SearchIndex, query: Query, similarity: Floats, k: int) -> list[Hit]:
    if query.row is not None:
        similarity[query.row] = -np.inf
    count = min(max(CANDIDATES, k), len(similarity) - (query.row is not None))
    rows = np.sort(np.argpartition(-similarity, count - 1)[:count]) if count else np.zeros(0, int)
    own = unit_norm(query.windows - index.mean)
    hits = [
        _hit(int(row), own, windows, index.mean)
        for row, windows in zip(rows, index.windows(rows.tolist()), strict=True)
    ]
    return sorted(hits, key=lambda hit: -hit.score)[:k]


def _hit(row: int, own: Floats, windows: VideoWindows, mean: Floats) -> Hit:
    cosines = own @ unit_norm(windows.features - mean).T  # [m, n]
    best = int(np.argmax(cosines.max(axis=0)))
    start, end = windows.spans[best].tolist()
    return Hit(row, float(cosines.max(axis=1).mean()), start, end)
