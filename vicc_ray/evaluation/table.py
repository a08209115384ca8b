"""The R@k table of a run: one row a network, from its feature files, as ``evaluation.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.by_class import by_class
from vicc_ray.evaluation.feature_file import FeatureTable, feature_names, feature_path, load_features
from vicc_ray.evaluation.interval import DRAWS, bootstrap_interval
from vicc_ray.evaluation.retrieval import Retrieval, retrieve, retrieve_two
from vicc_ray.files import atomic_write

RESULT_FILE = "evaluation.json"
STREAMS = {"rgb": "RGB", "flow": "Flow"}
NAME = re.compile(r"(?P<stream>rgb|flow)-(?:(?P<random>random)|stage(?P<stage>[12])(?:-(?P<cycle>\d+))?)")


def evaluate_features(folder: Path, config: Config) -> dict[str, Any]:
    """Score every ``features-<name>`` of ``folder`` and write ``folder/evaluation.json``.

    Rows: random networks, stage 1, stage 2 by cycle (RGB before flow each time), then the two newest together (R+F).
    Videos without a label or a split are left out of the score and counted.

    Returns:
        What was written: ``dataset``, ``rows`` (with what :func:`by_class` tells), ``gain`` (RGB after its last turn
        minus RGB after stage 1, None where one is missing; shares, not per cent) and ``settings``.

    Raises:
        UserError: no feature files, files of different videos, no labels, or no train or test videos.
    """
    (folder / RESULT_FILE).unlink(missing_ok=True)  # a table of other features must not outlive them
    tables = _load(folder)
    first = next(iter(tables.values()))
    _check_scorable(first)
    ignore, seed = config.evaluate.ignore_same_source, config.seed
    found: dict[str, Retrieval] = {}
    rows = []
    for name, table in tables.items():
        train, test = (table.split(split).labelled() for split in ("train", "test"))
        found[name] = retrieve(train, test, ignore_same_source=ignore, seed=seed)
        label = row_label(name, list(tables), config.schedule.cross_stream)
        rows.append({**_row(name, label, found[name]), **by_class(train, test, found[name], seed)})
    rows += _both_row(tables, ignore, seed)
    result = {
        "dataset": {**_dataset(first), "chance": next(iter(found.values())).chance},
        "rows": rows,
        "gain": _gain(found, seed),
        "settings": {**config.evaluate.model_dump(), "bootstrap_draws": DRAWS, "seed": seed},
    }
    atomic_write(folder / RESULT_FILE, json.dumps(result, indent=2) + "\n")
    return result


def row_order(names: list[str]) -> list[str]:
    """The known names among ``names`` in the order of the table."""
    known = [(match, name) for name in names if (match := NAME.fullmatch(name))]
    return [
        name
        for match, name in sorted(
            known, key=lambda m: (int(m[0]["stage"] or 0), int(m[0]["cycle"] or 0), m[0]["stream"] == "flow")
        )
    ]


def newest(names: list[str], stream: str) -> str | None:
    """The name of ``stream`` that was trained last, random networks aside; None where there is none."""
    trained = [name for name in row_order(names) if name.startswith(f"{stream}-") and not name.endswith("-random")]
    return trained[-1] if trained else None


def row_label(name: str, names: list[str], cross_stream: bool = True) -> str:
    """The name of a row in words. ``names``: all rows, which tells whether cycles must be told apart."""
    match = NAME.fullmatch(name)
    if match is None:
        return name
    stream = STREAMS[match["stream"]]
    if match["random"]:
        return f"{stream}, random network"
    if match["stage"] == "1":
        return f"{stream} after stage 1"
    stage = "the cross-stream stage" if cross_stream else "as many further steps alone"
    return (
        f"{stream} after {stage}"
        if name == newest(names, match["stream"])
        else f"{stream} after {stage}, cycle {match['cycle']}"
    )


def _load(folder: Path) -> dict[str, FeatureTable]:
    names = row_order(feature_names(folder))
    if not names:
        raise UserError(
            f"no features in {folder}: expected folders like features-rgb-stage1, as `vicc-ray evaluate` writes them"
        )
    tables = {name: load_features(feature_path(folder, name)).sorted() for name in names}
    ids = tables[names[0]].ids
    for name, table in tables.items():
        if not np.array_equal(table.ids, ids):
            first = feature_path(folder, names[0]).name
            raise UserError(
                f"{feature_path(folder, name)} holds other videos ({len(table.ids)}) than {first} ({len(ids)}): "
                "delete the feature files and run `vicc-ray evaluate` again"
            )
    return tables


def _check_scorable(table: FeatureTable) -> None:
    if not (table.labels != "").any():
        raise UserError(
            f"none of the {len(table.ids)} videos has a label, so retrieval cannot be scored: put the videos in one "
            "folder a class, or prepare them with a labels file (columns path,label,source,split)"
        )
    counts = {name: len(table.split(name).labelled()) for name in ("train", "test")}
    for name, count in counts.items():
        if not count:
            raise UserError(
                f"no labelled video in the split '{name}' (train {counts['train']}, test {counts['test']}): retrieval "
                "looks up test videos among train videos and needs both; set the split column or evaluate.test_share"
            )


def _row(name: str, label: str, result: Retrieval) -> dict[str, Any]:
    stream = "rgb+flow" if name == "rgb+flow" else name.split("-")[0]
    return {
        "key": name,
        "name": label,
        "stream": stream,
        "turn": None if name.endswith("-random") or name == "rgb+flow" else name,
        "recall": {str(k): value for k, value in result.recall.items()},
        "low": result.interval[0],
        "high": result.interval[1],
        "queries": result.queries,
    }


def _both_row(tables: dict[str, FeatureTable], ignore_same_source: bool, seed: int) -> list[dict[str, Any]]:
    rgb, flow = newest(list(tables), "rgb"), newest(list(tables), "flow")
    if rgb is None or flow is None:
        return []
    train_rgb, test_rgb, train_flow, test_flow = (
        tables[name].split(split).labelled() for name in (rgb, flow) for split in ("train", "test")
    )
    result = retrieve_two(train_rgb, test_rgb, train_flow, test_flow, ignore_same_source=ignore_same_source, seed=seed)
    row = {**_row("rgb+flow", "R+F: both similarities summed", result), "of": [rgb, flow]}
    return [{**row, **by_class(train_rgb, test_rgb, result, seed)}]


def _gain(found: dict[str, Retrieval], seed: int) -> dict[str, Any] | None:
    """Paired: the same queries under both networks, so that the interval is that of the difference itself."""
    last = newest(list(found), "rgb")
    if last is None or last == "rgb-stage1" or "rgb-stage1" not in found:
        return None
    difference = found[last].hits.astype(int) - found["rgb-stage1"].hits.astype(int)
    low, high = bootstrap_interval(difference, seed)
    return {"from": "rgb-stage1", "to": last, "recall_at_1": float(difference.mean()), "low": low, "high": high}


def _dataset(table: FeatureTable) -> dict[str, Any]:
    train, test = table.split("train"), table.split("test")
    return {
        "videos": len(table.ids),
        "train": len(train.labelled()),
        "test": len(test.labelled()),
        "classes": len(set(table.labels.tolist()) - {""}),
        "sources": len(set(table.sources.tolist()) - {""}),
        "unlabelled": int((table.labels == "").sum()),
        "without_split": int(((table.splits != "train") & (table.splits != "test")).sum()),
    }
