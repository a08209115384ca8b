"""Retrieval class by class: R@1 of each, and whose videos are taken for whose. C classes, n queries of a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from vicc_ray.evaluation.bootstrap import hit_interval
from vicc_ray.evaluation.retrieval import FeatureSet, Retrieval, galleries

NONE = ""
"""What the nearest neighbour is called where there is none."""


def by_class(
    train: FeatureSet, test: FeatureSet, found: Retrieval, seed: int = 0, ignore_same_source: bool = False
) -> dict[str, Any]:
    """What retrieval found, by the label of the query.

    Returns:
        ``classes``: one of each label in ``test``, sorted: ``label``, ``queries`` n, ``recall_at_1`` with its 95 %
        interval ``low`` and ``high``, all three None where they would be the same whatever the features are.
        ``confusion``: pairs of a query's label and its nearest neighbour's, equal labels included, with how often they
        came, most frequent first within a class.
    """
    nearest, choice = _labels_of_nearest(train, found), galleries(train, test, ignore_same_source)
    labelled = test.labels[test.labels != ""]
    classes, confusion = [], []
    for label in sorted(set(test.labels.tolist()) - {""}):
        own = test.labels == label
        figures: dict[str, float | None] = {"recall_at_1": None, "low": None, "high": None}
        if not np.isnan(found.recall[1]) and choice.select(labelled == label).tells(1):
            low, high = hit_interval(found.hits[own], seed)
            figures = {"recall_at_1": float(found.hits[own].mean()), "low": low, "high": high}
        classes.append({"label": label, "queries": int(own.sum()), **figures})
        names, counts = np.unique(nearest[own], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        confusion += [{"query": label, "nearest": str(names[k]), "count": int(counts[k])} for k in order]
    return {"classes": classes, "confusion": confusion}


def _labels_of_nearest(train: FeatureSet, found: Retrieval) -> np.ndarray:
    """The label of each query's nearest neighbour, str [Nq]."""
    first = found.neighbours[:, 0]
    return np.where(first >= 0, train.labels[np.maximum(first, 0)], NONE)
