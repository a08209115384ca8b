"""Which classes the RGB network tells apart, before and after the cross-stream stage, and which it confuses."""

from __future__ import annotations

from typing import Any

from vicc_ray.evaluation.retrieval_results import latest_network

MOST_IN_A_MATRIX = 24
"""Classes up to which all pairs are shown as a matrix; of more, the pairs that are confused most."""
PAIRS = 20


def read_classes(table: dict[str, Any] | None) -> dict[str, Any] | None:
    """R@1 class by class of the RGB network that was trained last.

    Args:
        table: ``evaluation.json``.

    Returns:
        ``network``, ``before`` (name of RGB after stage 1, None if it is the same or is not there), ``classes``: those
        of :func:`vicc_ray.evaluation.per_class.by_class` with ``before`` (R@1 after stage 1, None), ``matrix``: a row
        of counts for each class of queries, by the class of the nearest neighbour, in the order of ``labels`` (None
        where there are too many), ``pairs`` of different classes, most often confused first, with ``share`` of the
        query's class. None without a table, or from a table of an older version.
    """
    rows = {row["key"]: row for row in table["rows"]} if table else {}
    last = latest_network(list(rows), "rgb")
    if last is None or "classes" not in rows[last]:
        return None
    row, first = rows[last], rows.get("rgb-stage1")
    before = {} if first is None or last == "rgb-stage1" else {c["label"]: c["recall_at_1"] for c in first["classes"]}
    queries = {c["label"]: c["queries"] for c in row["classes"]}
    pairs = [
        {**pair, "share": pair["count"] / queries[pair["query"]]}
        for pair in row["confusion"]
        if pair["query"] != pair["nearest"]
    ]
    return {
        "network": row["name"],
        "before": first["name"] if first and before else None,
        "classes": [{**one, "before": before.get(one["label"])} for one in row["classes"]],
        **_matrix(row["confusion"], list(queries)),
        "pairs": sorted(pairs, key=lambda pair: -pair["share"])[:PAIRS],
    }


def _matrix(confusion: list[dict[str, Any]], queried: list[str]) -> dict[str, Any]:
    labels = sorted({*queried, *(pair["nearest"] for pair in confusion)} - {""})
    if len(labels) > MOST_IN_A_MATRIX:
        return {"labels": labels, "matrix": None}
    counts = {(pair["query"], pair["nearest"]): pair["count"] for pair in confusion}
    return {"labels": labels, "matrix": [[counts.get((query, nearest), 0) for nearest in labels] for query in queried]}
