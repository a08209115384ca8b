"""Retrieval by class: R@1 of each class, and the classes of the nearest neighbors. n queries of a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from vicc_ray.evaluation.bootstrap import hit_interval
from vicc_ray.evaluation.retrieval import FeatureSet, RetrievalResult, gallery_counts

NO_LABEL = ""
"""Label of the nearest neighbor of a query that has none."""


def retrieval_per_class(
    train: FeatureSet, test: FeatureSet, result: RetrievalResult, seed: int = 0, exclude_same_source: bool = False
) -> dict[str, Any]:
    """R@1 and nearest neighbors by the label of the query.

    Returns:
        ``classes``: for each label in ``test``, sorted: ``label``, ``queries`` (n), ``recall_at_1`` and its 95 %
        interval ``low`` and ``high``; these three are None where they would be the same for any features.
        ``confusion``: counts of pairs of a query's label and its nearest neighbor's, equal labels included, most
        frequent first within a class.
    """
    nearest, counts = _labels_of_nearest(train, result), gallery_counts(train, test, exclude_same_source)
    labels = test.labels[test.labels != ""]
    classes, confusion = [], []
    for label in sorted(set(labels.tolist())):
        queries = test.labels == label
        figures: dict[str, float | None] = {"recall_at_1": None, "low": None, "high": None}
        if not np.isnan(result.recall[1]) and counts.select(labels == label).is_informative(1):
            low, high = hit_interval(result.hits[queries], seed)
            figures = {"recall_at_1": float(result.hits[queries].mean()), "low": low, "high": high}
        classes.append({"label": label, "queries": int(queries.sum()), **figures})
        names, frequencies = np.unique(nearest[queries], return_counts=True)
        order = np.argsort(-frequencies, kind="stable")
        confusion += [{"query": label, "nearest": str(names[n]), "count": int(frequencies[n])} for n in order]
    return {"classes": classes, "confusion": confusion}


def _labels_of_nearest(train: FeatureSet, result: RetrievalResult) -> np.ndarray:
    """Label of each query's nearest neighbor, str [Nq]."""
    first = result.neighbors[:, 0]
    return np.where(first >= 0, train.labels[np.maximum(first, 0)], NO_LABEL)
