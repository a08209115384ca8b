"""R@1 by class, before and after the cross-stream stage, and which classes are confused."""

from __future__ import annotations

from typing import Any

from vicc_ray.evaluation.retrieval_results import latest_network
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure

MAX_MATRIX_CLASSES = 24
"""With more classes, the most frequently confused pairs are listed instead of a confusion matrix."""
PAIRS = 20


def read_confusion(table: dict[str, Any] | None) -> dict[str, Any] | None:
    """R@1 by class of the RGB network that was trained last.

    Args:
        table: content of evaluation.json.

    Returns:
        ``network``; ``before``: name of the RGB network after stage 1 (None if it is the same or does not exist);
        ``classes``: as :func:`vicc_ray.evaluation.per_class.by_class` has them, with ``before`` (R@1 after stage 1);
        ``matrix``: for each class of queries the counts by class of the nearest neighbor, in the order of ``labels``
        (None if there are too many classes); ``pairs`` of different classes, most often confused first, with ``share``
        of the query's class. None without a table, or for a table of an older version.
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
        "classes": [{**scores, "before": before.get(scores["label"])} for scores in row["classes"]],
        **_matrix(row["confusion"], list(queries)),
        "pairs": sorted(pairs, key=lambda pair: -pair["share"])[:PAIRS],
    }


def _matrix(confusion: list[dict[str, Any]], queried: list[str]) -> dict[str, Any]:
    labels = sorted({*queried, *(pair["nearest"] for pair in confusion)} - {""})
    if len(labels) > MAX_MATRIX_CLASSES:
        return {"labels": labels, "matrix": None}
    counts = {(pair["query"], pair["nearest"]): pair["count"] for pair in confusion}
    return {"labels": labels, "matrix": [[counts.get((query, nearest), 0) for nearest in labels] for query in queried]}


def _read(data: RunData) -> dict[str, Any] | None:
    return read_confusion(data.retrieval)


FIGURE = Figure(30, _read)
