"""The R@k table of a run, ``evaluation.json``: one row for each network, computed from its feature files."""

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
from vicc_ray.evaluation.caveats import ScoredNetwork, caveats
from vicc_ray.evaluation.feature_store import FeatureTable, feature_names, feature_path, load_features
from vicc_ray.evaluation.per_class import retrieval_per_class
from vicc_ray.evaluation.protocol import protocol_text
from vicc_ray.evaluation.results_io import RESULT_FILE
from vicc_ray.evaluation.retrieval import FeatureSet, RetrievalResult, retrieve, retrieve_two_streams
from vicc_ray.utils.fs import atomic_write

BOTH = "rgb+flow"
"""Key of the row of both streams combined."""
STREAMS = {"rgb": "RGB", "flow": "Flow"}
NAME = re.compile(
    r"(?P<stream>rgb|flow)-(?:(?P<random>random)|(?P<model>model)|stage(?P<stage>[12])(?:-(?P<cycle>\d+))?)"
)


def evaluate_features(folder: Path, config: Config) -> dict[str, Any]:
    """Score every ``features-<name>`` of ``folder`` and write ``folder/evaluation.json``.

    Rows: random networks, stage 1, stage 2 by cycle (RGB before flow each time), then the latest network of each stream
    combined (R+F). Videos without a label or a split are counted but not scored.

    Returns:
        The content of the file: ``dataset``, ``rows`` (with the figures of :func:`retrieval_per_class`; None for
        those that any network would have), ``gain`` (RGB after its last phase minus RGB after stage 1, as a fraction;
        None where one is missing), ``warnings`` (see :func:`caveats`) and ``settings``.

    Raises:
        UserError: no feature files, files of different videos, no labels, or no train or test videos.
    """
    (folder / RESULT_FILE).unlink(missing_ok=True)  # never keep a table of features that are gone
    tables = _load(folder)
    first = next(iter(tables.values()))
    _check_scorable(first)
    ignore, seed = config.evaluate.exclude_same_source, config.seed
    sets_of = {name: [table.split(split).labeled() for split in ("train", "test")] for name, table in tables.items()}
    networks = {
        name: ScoredNetwork(
            row_label(name, list(tables), config.schedule.cross_stream), *_retrieve_both_ways(sets, ignore, seed)
        )
        for name, sets in sets_of.items()
    }
    both = [name for stream in ("rgb", "flow") if (name := latest_network(list(tables), stream))]
    if len(both) > 1:
        sets = [*sets_of[both[0]], *sets_of[both[1]]]
        networks[BOTH] = ScoredNetwork("R+F: both similarities summed", *_retrieve_both_ways(sets, ignore, seed))
    train, test = next(iter(sets_of.values()))
    rows = [
        {
            **_row(name, row.name, row.result),
            **({"of": both} if name == BOTH else {}),
            **retrieval_per_class(train, test, row.result, seed, ignore),
        }
        for name, row in networks.items()
    ]
    results = {name: row.result for name, row in networks.items()}
    any_row = next(iter(results.values()))
    chance_at = {str(k): value for k, value in any_row.chance_at.items()}
    result = {
        "dataset": {**_dataset(first), "chance": any_row.chance, "chance_at": chance_at},
        "rows": rows,
        "gain": _gain(results, seed),
        "warnings": caveats(train, test, list(networks.values()), ignore, seed),
        "protocol": protocol_text(config.evaluate, "retrieval"),
        "settings": {**config.evaluate.model_dump(), "bootstrap_draws": DRAWS, "seed": seed},
    }
    atomic_write(folder / RESULT_FILE, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def row_order(names: list[str]) -> list[str]:
    """The names of networks among ``names``, in the order of the table."""
    known = [(match, name) for name in names if (match := NAME.fullmatch(name))]
    return [
        name
        for match, name in sorted(
            known, key=lambda m: (int(m[0]["stage"] or 0), int(m[0]["cycle"] or 0), m[0]["stream"] == "flow")
        )
    ]


def latest_network(names: list[str], stream: str) -> str | None:
    """The network of ``stream`` that was trained last; None where there are only random networks, or none."""
    trained = [name for name in row_order(names) if name.startswith(f"{stream}-") and not name.endswith("-random")]
    return trained[-1] if trained else None


def row_label(name: str, names: list[str], cross_stream: bool = True) -> str:
    """The name of a row in words, with the cycle where ``names``, all rows, have a later one."""
    match = NAME.fullmatch(name)
    if match is None:
        return name
    stream = STREAMS[match["stream"]]
    if match["random"]:
        return f"{stream}, random network"
    if match["model"]:
        return f"{stream}, given network"
    if match["stage"] == "1":
        return f"{stream} after stage 1"
    stage = "the cross-stream stage" if cross_stream else "as many further steps alone"
    return (
        f"{stream} after {stage}"
        if name == latest_network(names, match["stream"])
        else f"{stream} after {stage}, cycle {match['cycle']}"
    )


def _load(folder: Path) -> dict[str, FeatureTable]:
    names = row_order(feature_names(folder))
    if not names:
        raise UserError(
            f"no features in {folder}: expected folders such as features-rgb-stage1, written by `vicc-ray evaluate`"
        )
    tables = {name: load_features(feature_path(folder, name)).sorted() for name in names}
    ids = tables[names[0]].ids
    for name, table in tables.items():
        if not np.array_equal(table.ids, ids):
            first = feature_path(folder, names[0]).name
            raise UserError(
                f"{feature_path(folder, name)} has features of other videos ({len(table.ids)}) than {first} "
                f"({len(ids)}): delete the feature files and run `vicc-ray evaluate` again"
            )
    return tables


def _check_scorable(table: FeatureTable) -> None:
    if not (table.labels != "").any():
        raise UserError(
            f"none of the {len(table.ids)} videos has a label, so retrieval cannot be scored: put the videos in one "
            "folder per class, or prepare them with a labels file (columns path,label,source,split)"
        )
    counts = {name: len(table.split(name).labeled()) for name in ("train", "test")}
    for name, count in counts.items():
        if not count:
            raise UserError(
                f"no labeled video in the split '{name}' (train {counts['train']}, test {counts['test']}): retrieval "
                "looks up test videos among train videos and needs both; set the split column or prepare.test_fraction"
            )


def _row(name: str, label: str, result: RetrievalResult) -> dict[str, Any]:
    stream = BOTH if name == BOTH else name.split("-")[0]
    return {
        "key": name,
        "name": label,
        "stream": stream,
        "phase": None if name.endswith(("-random", "-model")) or name == BOTH else name,
        "recall": {str(k): _none_if_nan(value) for k, value in result.recall.items()},
        "low": _none_if_nan(result.interval[0]),
        "high": _none_if_nan(result.interval[1]),
        "queries": result.queries,
    }


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _retrieve_both_ways(
    sets: list[FeatureSet], exclude_same_source: bool, seed: int
) -> tuple[RetrievalResult, RetrievalResult]:
    """Retrieval with the test videos centered on their own mean, and on the mean of the training videos.

    Args:
        sets: train and test of one stream, or of RGB and then of flow.
    """
    search: Callable[..., RetrievalResult] = retrieve_two_streams if len(sets) > 2 else retrieve
    options = {"exclude_same_source": exclude_same_source, "seed": seed}
    return search(*sets, **options), search(*sets, **options, own_mean=False)


def _gain(results: dict[str, RetrievalResult], seed: int) -> dict[str, Any] | None:
    """R@1 gained by RGB since stage 1, paired by query: the interval is that of the difference itself."""
    last = latest_network(list(results), "rgb")
    if last is None or last == "rgb-stage1" or "rgb-stage1" not in results or math.isnan(results[last].recall[1]):
        return None
    difference = results[last].hits.astype(int) - results["rgb-stage1"].hits.astype(int)
    low, high = bootstrap_interval(difference, seed)
    return {"from": "rgb-stage1", "to": last, "recall_at_1": float(difference.mean()), "low": low, "high": high}


def _dataset(table: FeatureTable) -> dict[str, Any]:
    train, test = table.split("train"), table.split("test")
    return {
        "videos": len(table.ids),
        "train": len(train.labeled()),
        "test": len(test.labeled()),
        "classes": len(set(table.labels.tolist()) - {""}),
        "sources": len(set(table.sources.tolist()) - {""}),
        "unlabeled": int((table.labels == "").sum()),
        "without_split": int(((table.splits != "train") & (table.splits != "test")).sum()),
    }
