"""The R@k table of a run: one row a network, from its feature files, as ``evaluation.json``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.bootstrap import DRAWS, bootstrap_interval
from vicc_ray.evaluation.caveats import Judged, caveats
from vicc_ray.evaluation.feature_store import FeatureTable, feature_names, feature_path, load_features
from vicc_ray.evaluation.per_class import by_class
from vicc_ray.evaluation.results_io import RESULT_FILE
from vicc_ray.evaluation.retrieval import FeatureSet, Retrieval, retrieve, retrieve_two
from vicc_ray.utils.fs import atomic_write

BOTH = "rgb+flow"
"""Key of the row of both streams together."""
STREAMS = {"rgb": "RGB", "flow": "Flow"}
NAME = re.compile(r"(?P<stream>rgb|flow)-(?:(?P<random>random)|stage(?P<stage>[12])(?:-(?P<cycle>\d+))?)")


def evaluate_features(folder: Path, config: Config) -> dict[str, Any]:
    """Score every ``features-<name>`` of ``folder`` and write ``folder/evaluation.json``.

    Rows: random networks, stage 1, stage 2 by cycle (RGB before flow each time), then the two newest together (R+F).
    Videos without a label or a split are left out of the score and counted.

    Returns:
        What was written: ``dataset``, ``rows`` (with what :func:`by_class` tells; a figure that would be the same
        whatever the network is None), ``gain`` (RGB after its last phase minus RGB after stage 1, None where one is
        missing; shares, not per cent), ``warnings`` (see :func:`caveats`) and ``settings``.

    Raises:
        UserError: no feature files, files of different videos, no labels, or no train or test videos.
    """
    (folder / RESULT_FILE).unlink(missing_ok=True)  # a table of other features must not outlive them
    tables = _load(folder)
    first = next(iter(tables.values()))
    _check_scorable(first)
    ignore, seed = config.evaluate.ignore_same_source, config.seed
    parts = {name: [table.split(split).labelled() for split in ("train", "test")] for name, table in tables.items()}
    judged = {
        name: Judged(row_label(name, list(tables), config.schedule.cross_stream), *_both_ways(sets, ignore, seed))
        for name, sets in parts.items()
    }
    both = [name for stream in ("rgb", "flow") if (name := newest(list(tables), stream))]
    if len(both) > 1:
        sets = [*parts[both[0]], *parts[both[1]]]
        judged[BOTH] = Judged("R+F: both similarities summed", *_both_ways(sets, ignore, seed))
    train, test = next(iter(parts.values()))
    rows = [
        {
            **_row(name, row.name, row.own),
            **({"of": both} if name == BOTH else {}),
            **by_class(train, test, row.own, seed, ignore),
        }
        for name, row in judged.items()
    ]
    own = {name: row.own for name, row in judged.items()}
    any_row = next(iter(own.values()))
    chance_at = {str(k): value for k, value in any_row.chance_at.items()}
    result = {
        "dataset": {**_dataset(first), "chance": any_row.chance, "chance_at": chance_at},
        "rows": rows,
        "gain": _gain(own, seed),
        "warnings": caveats(train, test, list(judged.values()), ignore, seed),
        "settings": {**config.evaluate.model_dump(), "bootstrap_draws": DRAWS, "seed": seed},
    }
    atomic_write(folder / RESULT_FILE, json.dumps(result, indent=2, allow_nan=False) + "\n")
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
    stream = BOTH if name == BOTH else name.split("-")[0]
    return {
        "key": name,
        "name": label,
        "stream": stream,
        "phase": None if name.endswith("-random") or name == BOTH else name,
        "recall": {str(k): _told(value) for k, value in result.recall.items()},
        "low": _told(result.interval[0]),
        "high": _told(result.interval[1]),
        "queries": result.queries,
    }


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value


def _both_ways(sets: list[FeatureSet], ignore_same_source: bool, seed: int) -> tuple[Retrieval, Retrieval]:
    """Retrieval with the test videos centred on their own mean, and on that of the training videos.

    Args:
        sets: train and test of one stream, or of RGB and then of flow.
    """
    scored: Callable[..., Retrieval] = retrieve_two if len(sets) > 2 else retrieve
    given = {"ignore_same_source": ignore_same_source, "seed": seed}
    return scored(*sets, **given), scored(*sets, **given, own_mean=False)


def _gain(found: dict[str, Retrieval], seed: int) -> dict[str, Any] | None:
    """Paired: the same queries under both networks, so that the interval is that of the difference itself."""
    last = newest(list(found), "rgb")
    if last is None or last == "rgb-stage1" or "rgb-stage1" not in found or math.isnan(found[last].recall[1]):
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
