"""Retrieval by class, on cases counted by hand."""

from __future__ import annotations

import numpy as np

from vicc_ray.evaluation.per_class import retrieval_per_class
from vicc_ray.evaluation.retrieval import FeatureSet, retrieve

DIRECTIONS = {"a": (1, 0), "b": (0, 1), "c": (-1, -1)}


def videos(features: str, labels: str, sources: str = "") -> FeatureSet:
    """Videos whose features point in the ``DIRECTIONS`` of these letters, with labels of their own."""
    names = np.array([str(n) for n in range(len(labels))])
    origin = list(sources) if sources else [""] * len(labels)
    return FeatureSet(np.array([DIRECTIONS[letter] for letter in features], np.float32), list(labels), origin, names)


def test_queries_and_hits_are_counted_per_class() -> None:
    train, test = videos("abcabc", "abcabc"), videos("aabbccccc", "aaabbcccc")
    figures = retrieval_per_class(train, test, retrieve(train, test))
    rows = {row["label"]: row for row in figures["classes"]}
    assert {label: (row["queries"], row["recall_at_1"]) for label, row in rows.items()} == {
        "a": (3, 2 / 3),
        "b": (2, 1 / 2),
        "c": (4, 1.0),
    }
    assert all(row["low"] <= row["recall_at_1"] <= row["high"] for row in rows.values())
    confusion = {(pair["query"], pair["nearest"]): pair["count"] for pair in figures["confusion"]}
    assert confusion == {("a", "a"): 2, ("a", "b"): 1, ("b", "b"): 1, ("b", "c"): 1, ("c", "c"): 4}


def test_classes_add_up_to_all_queries() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(list("abcd"))[rng.integers(4, size=80)]
    features = rng.normal(size=(80, 5)) + 2 * np.eye(4, 5)[np.searchsorted(list("abcd"), labels)]
    sets = [FeatureSet(features[part], labels[part], labels[part], labels[part]) for part in (slice(50), slice(50, 80))]
    result = retrieve(sets[0], sets[1])
    figures = retrieval_per_class(sets[0], sets[1], result)
    weighted = sum(row["queries"] * row["recall_at_1"] for row in figures["classes"])
    assert np.isclose(weighted / result.queries, result.recall[1])
    assert sum(pair["count"] for pair in figures["confusion"]) == result.queries


def test_a_query_without_neighbor_has_no_nearest_label() -> None:
    train, test = videos("ab", "ab", "xx"), videos("ab", "ab", "xy")
    figures = retrieval_per_class(train, test, retrieve(train, test, exclude_same_source=True))
    assert {"query": "a", "nearest": "", "count": 1} in figures["confusion"]
    assert figures["classes"][0]["recall_at_1"] == 0
