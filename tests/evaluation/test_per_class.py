"""Retrieval class by class, on a case that is counted by hand."""

from __future__ import annotations

import numpy as np

from vicc_ray.evaluation.per_class import retrieval_per_class
from vicc_ray.evaluation.retrieval import FeatureSet, retrieve

WAYS = {"a": (1, 0), "b": (0, 1), "c": (-1, -1)}


def videos(features: str, labels: str, sources: str = "") -> FeatureSet:
    """Features that point as a letter of ``WAYS`` says; labels that may be others."""
    names = np.array([str(n) for n in range(len(labels))])
    where = list(sources) if sources else [""] * len(labels)
    return FeatureSet(np.array([WAYS[letter] for letter in features], np.float32), list(labels), where, names)


def test_each_class_is_counted() -> None:
    train, test = videos("abcabc", "abcabc"), videos("aabbccccc", "aaabbcccc")
    found = retrieval_per_class(train, test, retrieve(train, test))
    rows = {row["label"]: row for row in found["classes"]}
    assert {label: (row["queries"], row["recall_at_1"]) for label, row in rows.items()} == {
        "a": (3, 2 / 3),
        "b": (2, 1 / 2),
        "c": (4, 1.0),
    }
    assert all(row["low"] <= row["recall_at_1"] <= row["high"] for row in rows.values())
    confusion = {(pair["query"], pair["nearest"]): pair["count"] for pair in found["confusion"]}
    assert confusion == {("a", "a"): 2, ("a", "b"): 1, ("b", "b"): 1, ("b", "c"): 1, ("c", "c"): 4}


def test_classes_add_up_to_all_queries() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(list("abcd"))[rng.integers(4, size=80)]
    features = rng.normal(size=(80, 5)) + 2 * np.eye(4, 5)[np.searchsorted(list("abcd"), labels)]
    sets = [FeatureSet(features[part], labels[part], labels[part], labels[part]) for part in (slice(50), slice(50, 80))]
    result = retrieve(*sets)
    found = retrieval_per_class(*sets, result)
    weighted = sum(row["queries"] * row["recall_at_1"] for row in found["classes"])
    assert np.isclose(weighted / result.queries, result.recall[1])
    assert sum(pair["count"] for pair in found["confusion"]) == result.queries


def test_a_query_without_neighbour_is_taken_for_nobody() -> None:
    train, test = videos("ab", "ab", "xx"), videos("ab", "ab", "xy")
    found = retrieval_per_class(train, test, retrieve(train, test, exclude_same_source=True))
    assert {"query": "a", "nearest": "", "count": 1} in found["confusion"]
    assert found["classes"][0]["recall_at_1"] == 0
