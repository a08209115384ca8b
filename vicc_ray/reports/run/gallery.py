"""The gallery: random queries and their nearest neighbors by each network."""

from __future__ import annotations

from typing import Any

import numpy as np

from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import FeatureFolder
from vicc_ray.evaluation.retrieval import FeatureSet, RetrievalResult, retrieve
from vicc_ray.evaluation.retrieval_results import latest_network, row_label
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure

QUERIES = 8
POOL = 1024
"""Videos that queries are drawn from if there are no test videos; their mean centers the queries."""


def find_neighbors(features: FeatureFolder, settings: dict[str, Any]) -> dict[str, Any]:
    """Queries and their five nearest neighbors by RGB after stage 1 and by RGB after its last phase, if these exist.

    Queries are test videos. Without test videos, as in unlabeled data, they are train videos among all the others.

    Args:
        features: of a run's ``evaluation``.
        settings: ``seed``, ``exclude_same_source``, ``cross_stream``.

    Returns:
        ``networks`` [{"key", "name", "hits": of the shown queries}]; ``queries`` [{"id", "label", "neighbors": for each
        network a list of {"id", "label", "same": bool, None without labels}}]; ``held_out``: whether these are test
        videos.

    Raises:
        UserError: there are no RGB features, or no train videos among them.
    """
    names = features.names
    shown = [name for name in dict.fromkeys(["rgb-stage1", latest_network(names, "rgb")]) if name in names]
    if not shown:
        raise UserError(f"no features of a trained RGB network in {features.folder}")
    results: list[tuple[FeatureSet, RetrievalResult]] = []
    for name in shown:
        table = features.load(name)
        train, test = table.split("train"), table.split("test")
        held_out, ignore = bool(len(test)), settings["exclude_same_source"]
        if not held_out:
            train = train if ignore else _each_its_own_source(train)
            test = train.select(np.random.default_rng(settings["seed"]).permutation(len(train))[:POOL])
        if not len(train) or not len(test):
            raise UserError(f"no neighbors to show: {len(train)} train and {len(test)} test videos")
        several = len(test) > 1  # a single query would be centered to zero
        results.append((train, retrieve(train, test, exclude_same_source=ignore or not held_out, own_mean=several)))
    chosen = choose_queries(test.labels, settings["seed"])
    return {
        "networks": [
            {
                "key": name,
                "name": row_label(name, names, settings["cross_stream"]),
                "hits": int(result.hits[chosen].sum()),
            }
            for name, (_, result) in zip(shown, results, strict=True)
        ],
        "queries": [_query(test, results, int(row)) for row in chosen],
        "held_out": held_out,
    }


def _each_its_own_source(videos: FeatureSet) -> FeatureSet:
    """The videos with a source of their own each, so that excluding a query's source excludes only the query."""
    return FeatureSet(videos.features, videos.labels, videos.ids, videos.ids)


def choose_queries(labels: np.ndarray, seed: int, count: int = QUERIES) -> np.ndarray:
    """Rows of ``count`` queries, drawn at random from each class in turn, so that no query is picked for its result."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    counts: dict[str, int] = {}
    rounds = np.zeros(len(labels), dtype=int)
    for row in order:
        rounds[row] = counts.get(str(labels[row]), 0)
        counts[str(labels[row])] = rounds[row] + 1
    chosen = sorted(order, key=lambda row: rounds[row])[:count]
    return np.array(sorted(chosen, key=lambda row: (str(labels[row]), row)), dtype=int)


def _query(test: FeatureSet, results: list[tuple[FeatureSet, RetrievalResult]], row: int) -> dict[str, Any]:
    label = str(test.labels[row])
    return {
        "id": str(test.ids[row]),
        "label": label,
        "neighbors": [
            [_neighbor(train, place, label) for place in result.neighbors[row] if place >= 0]
            for train, result in results
        ],
    }


def _neighbor(train: FeatureSet, place: int, query_label: str) -> dict[str, Any]:
    label = str(train.labels[place])
    return {
        "id": str(train.ids[place]),
        "label": label,
        "same": label == query_label if label and query_label else None,
    }


def _read(data: RunData) -> dict[str, Any] | None:
    try:
        return find_neighbors(data.features, data.retrieval_settings)
    except UserError as error:
        data.missing["gallery"] = f"Nothing to show yet: {error}."
        return None


FIGURE = Figure(40, _read)
