"""Which indexed videos are most like a query, and where in them.

Features are compared by cosine after what all videos have in common, their mean, is subtracted. First all videos by
their mean feature; then the best of them by their windows: the score is the mean, over the windows of the query, of the
cosine with the nearest window of the video. So a copy scores 1 as far as the same windows of it are looked at, and so
does a longer video that the query was cut from.
N videos, m windows of the query, n of a video, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.search.features import Floats
from vicc_ray.search.index_format import unit
from vicc_ray.search.reader import SearchIndex, Windows

CANDIDATES = 100
"""Videos that are compared by their windows."""


@dataclass(frozen=True)
class Query:
    """What is searched for: features float32 [m, F] of its windows, and the row of the index that it is itself."""

    windows: Floats
    row: int | None = None


@dataclass(frozen=True)
class Hit:
    """A video that was found: its row, its cosine score (-1 to 1), and the span most like the query, in seconds."""

    row: int
    score: float
    start: float
    end: float


def query_of_row(index: SearchIndex, row: int) -> Query:
    """A video of the index as the query."""
    (windows,) = index.windows([row])
    return Query(windows.features, row)


def search(index: SearchIndex, query: Query, k: int) -> list[Hit]:
    """The ``k`` videos most like the query, best first; equal ones in the order of the index. Not the query itself.

    Raises:
        UserError: a part of the index is damaged.
    """
    (hits,) = search_all(index, [query], k)
    return hits


def search_all(index: SearchIndex, queries: Sequence[Query], k: int) -> list[list[Hit]]:
    """The same for several queries, for which the mean features are gone through once."""
    means = unit(np.stack([query.windows.mean(axis=0) for query in queries]) - index.mean)
    similarity = index.similarity(means)
    return [_ranked(index, query, row, k) for query, row in zip(queries, similarity, strict=True)]


def median_score(index: SearchIndex, query: Query) -> float:
    """Cosine of the query with the video in the middle of all, by their mean features: scores are to be read by it."""
    mean = unit(query.windows.mean(axis=0, keepdims=True) - index.mean)
    (similarity,) = index.similarity(mean)
    return float(np.median(np.delete(similarity, [] if query.row is None else [query.row])))


def _ranked(index: SearchIndex, query: Query, similarity: Floats, k: int) -> list[Hit]:
    if query.row is not None:
        similarity[query.row] = -np.inf
    count = min(max(CANDIDATES, k), len(similarity) - (query.row is not None))
    rows = np.sort(np.argpartition(-similarity, count - 1)[:count]) if count else np.zeros(0, int)
    own = unit(query.windows - index.mean)
    hits = [
        _hit(int(row), own, windows, index.mean)
        for row, windows in zip(rows, index.windows(rows.tolist()), strict=True)
    ]
    return sorted(hits, key=lambda hit: -hit.score)[:k]


def _hit(row: int, own: Floats, windows: Windows, mean: Floats) -> Hit:
    cosines = own @ unit(windows.features - mean).T  # [m, n]
    best = int(np.argmax(cosines.max(axis=0)))
    start, end = windows.spans[best].tolist()
    return Hit(row, float(cosines.max(axis=1).mean()), start, end)
