"""The head of the report: the main result in a sentence, tiles with R@1, and warnings about phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vicc_ray.config import Config
from vicc_ray.evaluation.retrieval_results import latest_network
from vicc_ray.reports.formats import interval, percent, points
from vicc_ray.training.monitoring.diagnostics import diagnose_finished_phase

STEP_FIGURES = ("loss", "entropy", "assignment_entropy")


def headline(
    table: dict[str, Any] | None,
    phases: list[dict[str, Any]],
    warnings: list[dict[str, str]],
    cross_stream: bool = True,
    unlabeled: int = 0,
) -> dict[str, Any]:
    """``title`` (short), ``text`` (one to three sentences) and ``tiles`` [{"value", "label", "note"}].

    Args:
        table: content of evaluation.json, None before the evaluation.
        phases, warnings: as in report.json.
        unlabeled: number of videos if none of them has a label.
    """
    if table is None and unlabeled:
        return _without_labels(phases, warnings, unlabeled)
    if table is None:
        return {"title": "Retrieval has not been evaluated yet", "text": _progress(phases), "tiles": []}
    rows = {row["key"]: row for row in table["rows"]}
    chance = table["dataset"]["chance"]
    tiles = [_tile(rows[key], label) for key, label in _shown(rows, cross_stream)]
    tiles.append({"value": percent(chance), "label": "Chance", "note": f"{table['dataset']['classes']} classes"})
    gain = table.get("gain")
    if gain:
        title, text = _describe_gain(rows[gain["from"]], rows[gain["to"]], gain, cross_stream)
    else:
        best = rows[latest_network(list(rows), "rgb") or table["rows"][0]["key"]]
        title = _one_score(best)
        text = "The cross-stream stage has not been evaluated yet." if best["key"] == "rgb-stage1" else ""
    test, train = table["dataset"]["test"], table["dataset"]["train"]
    what = (
        f"R@1 is the share of {test:,} test videos whose nearest neighbor among {train:,} train videos shows the same "
        f"class; chance is {percent(chance)}."
    )
    if any(w["kind"] != "prototype_collapse" for w in warnings):
        text += " See the warnings below: not every phase has learned."
    return {"title": title, "text": f"{text} {what}".strip(), "tiles": tiles}


def _one_score(row: dict[str, Any]) -> str:
    if row["recall"]["1"] is None:
        return "Retrieval among these videos says nothing about the network"
    return f"R@1 of {row['name']} is {percent(row['recall']['1'])}"


def _without_labels(phases: list[dict[str, Any]], warnings: list[dict[str, str]], videos: int) -> dict[str, Any]:
    """The head of a run whose videos have no labels: no neighbor can be right or wrong."""
    see_warnings = " See the warnings below: not every phase has learned." if warnings else ""
    text = (
        f"{_progress(phases)}{see_warnings} Without labels there is no R@1. Judge the network by the nearest "
        "neighbors, the map and the prototypes below."
    )
    return {"title": f"{videos:,} videos without labels", "text": text, "tiles": []}


def warnings(
    phases: list[dict[str, Any]], config: Config, validation: Sequence[dict[str, Any]] = ()
) -> list[dict[str, str]]:
    """Phases that did not learn, or whose assignments or embeddings collapsed.

    Each has ``phase``, ``name``, ``kind`` and ``text``.

    Args:
        phases: as :func:`vicc_ray.reports.run.curves.read_phases` returns them, with ``name`` and ``epochs``.
        config: settings of the run.
        validation: results of the validations in order.
    """
    newest_result = {result["phase"]: result for result in validation if "phase" in result}
    return [
        {"phase": phase["phase"], "name": phase["name"], "kind": problem.kind, "text": problem.text}
        for phase in phases
        for problem in diagnose_finished_phase(
            _end_of(phase), config, phase["steps"], newest_result.get(phase["phase"])
        )
    ]


def _end_of(phase: dict[str, Any]) -> dict[str, Any]:
    """Figures of a phase's last epoch. Those that steps have too are means over the last tenth of the steps."""
    last_epoch = phase["epochs"]["last"] if phase["epochs"] else {}
    last_steps = {key: phase["end"][key] for key in STEP_FIGURES if phase["end"][key] is not None}
    diverged = {"loss": math.nan} if phase["diverged"] else {}
    ln_k = {"ln_k": phase["ln_k"]} if phase["ln_k"] else {}
    return {"stage": phase["stage"], "stream": phase["stream"], **last_epoch, **last_steps, **diverged, **ln_k}


def _describe_gain(
    before: dict[str, Any], after: dict[str, Any], gain: dict[str, Any], cross_stream: bool
) -> tuple[str, str]:
    a, b = percent(before["recall"]["1"]), percent(after["recall"]["1"])
    stage = "The cross-stream stage" if cross_stream else "Further training alone"
    difference = points(gain["recall_at_1"])
    span = f"95\u00a0% interval {points(gain['low'])} to {points(gain['high'])}"
    if gain["low"] > 0:
        title = f"{stage} lifts RGB from {a} to {b} R@1"
        return title, f"That is {difference} points ({span}). The network uses frames alone: inference needs no flow."
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
        "note": "not defined" if row["low"] is None else f"95\u00a0%: {interval(row['low'], row['high'])}",
    }


def _progress(phases: list[dict[str, Any]]) -> str:
    if not phases:
        return "The run has not started."
    last = phases[-1]
    loss = last["end"]["loss"]
    at = "" if loss is None else f", loss {loss:.2f}"
    recorded = f"{len(phases)} phase is" if len(phases) == 1 else f"{len(phases)} phases are"
    return f"{recorded} recorded, up to step {last['last_step']:,} ({last['name']}{at})."
