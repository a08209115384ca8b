"""The main result of a run in a sentence."""

from __future__ import annotations

from typing import Any

from vicc_ray.evaluation.retrieval_results import latest_network


def headline(
    table: dict[str, Any] | None,
    phases: list[dict[str, Any]],
    warnings: list[dict[str, str]],
    cross_stream: bool = True,
    unlabelled: int = 0,
) -> dict[str, Any]:
    """``title`` (short), ``text`` (one to three sentences) and ``tiles`` [{"value", "label", "note"}].

    Args:
        table: ``evaluation.json``, None before the evaluation.
        phases, warnings: as the report has them.
        unlabelled: how many videos the run has, where none of them has a label.
    """
    if table is None and unlabelled:
        return _without_labels(phases, warnings, unlabelled)
    if table is None:
        return {"title": "Retrieval is not evaluated yet", "text": _progress(phases), "tiles": []}
    rows = {row["key"]: row for row in table["rows"]}
    chance = table["dataset"]["chance"]
    tiles = [_tile(rows[key], label) for key, label in _shown(rows, cross_stream)]
    tiles.append({"value": percent(chance), "label": "Chance", "note": f"{table['dataset']['classes']} classes"})
    gain = table.get("gain")
    if gain:
        title, text = _gained(rows[gain["from"]], rows[gain["to"]], gain, cross_stream)
    else:
        best = rows[latest_network(list(rows), "rgb") or table["rows"][0]["key"]]
        title = _one_score(best)
        text = "The cross-stream stage has not been evaluated yet." if best["key"] == "rgb-stage1" else ""
    test, train = table["dataset"]["test"], table["dataset"]["train"]
    what = (
        f"For each of {test:,} test videos the nearest of {train:,} train videos is looked up; R@1 is how often "
        f"it shows the same class, {percent(chance)} by chance."
    )
    if any(w["kind"] != "prototype_collapse" for w in warnings):
        text += " Mind the warnings below: not every phase has learnt."
    return {"title": title, "text": f"{text} {what}".strip(), "tiles": tiles}


def _one_score(row: dict[str, Any]) -> str:
    if row["recall"]["1"] is None:
        return "Retrieval among these videos says nothing of the network"
    return f"R@1 of {row['name']} is {percent(row['recall']['1'])}"


def _without_labels(phases: list[dict[str, Any]], warnings: list[dict[str, str]], videos: int) -> dict[str, Any]:
    """What can be said without a single label: nothing can be right or wrong, so the page shows what is found alike."""
    mind = " Mind the warnings below: not every phase has learnt." if warnings else ""
    text = (
        f"{_progress(phases)}{mind} Without labels there is no R@1: whether the network finds the right videos is "
        "yours to judge, by the nearest neighbours, the map and the prototypes below."
    )
    return {"title": f"{videos:,} videos without labels", "text": text, "tiles": []}


def percent(share: float | None) -> str:
    """A share in per cent, like 41.2 % (with a no-break space); a dash for what is unknown."""
    if share is None or share != share:
        return "–"
    return f"{100 * share:.1f}".removesuffix(".0") + "\u00a0%"


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: "+12.5", "−3"."""
    value = round(100 * share, 1)
    return ("+" if value > 0 else "−" if value < 0 else "±") + f"{abs(value):.1f}".removesuffix(".0")


def _gained(before: dict[str, Any], after: dict[str, Any], gain: dict[str, Any], cross_stream: bool) -> tuple[str, str]:
    a, b = percent(before["recall"]["1"]), percent(after["recall"]["1"])
    stage = "The cross-stream stage" if cross_stream else "Further training alone"
    difference = points(gain["recall_at_1"])
    span = f"95\u00a0% interval {points(gain['low'])} to {points(gain['high'])}"
    if gain["low"] > 0:
        title = f"{stage} lifts RGB from {a} to {b} R@1"
        return title, f"That is {difference} points ({span}), from the frames alone: no flow is needed to use it."
    if gain["high"] < 0:
        return f"{stage} lowers RGB from {a} to {b} R@1", f"That is {difference} points ({span})."
    return (
        f"{stage} makes no clear difference to RGB: {a} before, {b} after",
        f"The difference of {difference} points has a {span}, which includes zero.",
    )


def _shown(rows: dict[str, Any], cross_stream: bool) -> list[tuple[str, str]]:
    after = "RGB, cross-stream" if cross_stream else "RGB, further alone"
    last = [key for key in rows if key.startswith("rgb-stage2")][-1:]
    wanted = [("rgb-random", "RGB, random network"), ("rgb-stage1", "RGB, stage 1"), *((key, after) for key in last)]
    return [(key, label) for key, label in wanted if key in rows]


def _tile(row: dict[str, Any], label: str) -> dict[str, str]:
    return {
        "key": row["key"],
        "value": percent(row["recall"]["1"]),
        "label": label,
        "note": "not told" if row["low"] is None else f"95\u00a0%: {100 * row['low']:.1f} to {100 * row['high']:.1f}",
    }


def _progress(phases: list[dict[str, Any]]) -> str:
    if not phases:
        return "The run has not started."
    last = phases[-1]
    loss = last["end"]["loss"]
    at = "" if loss is None else f", at a loss of {loss:.2f}"
    return f"{len(phases)} phases are recorded, up to step {last['last_step']:,} ({last['name']}{at})."
