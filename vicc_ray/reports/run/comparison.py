"""Comparison of two runs: R@1 of each network, paired by query, and the settings that differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from vicc_ray.config import ConfigSection
from vicc_ray.errors import UserError
from vicc_ray.evaluation.bootstrap import bootstrap_interval
from vicc_ray.evaluation.feature_settings import have_same_videos
from vicc_ray.evaluation.feature_store import feature_names, feature_path, load_features
from vicc_ray.evaluation.results_io import RESULT_FILE, read_result
from vicc_ray.evaluation.retrieval import retrieve
from vicc_ray.evaluation.retrieval_results import latest_network
from vicc_ray.reports.run.curves import read_phases
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.reports.run.settings import as_config, plain, read_settings

NOT_COMPARED = {"name", "ray"}


def compare(run: Path, other: Path) -> dict[str, Any]:
    """Compare the run of the report ("one") with another ("other").

    Returns:
        ``name`` of the other run; ``rows`` of networks that both have: ``key``, ``name``, ``one`` and ``other`` (R@1),
        ``difference`` with its 95 % interval ``low`` and ``high`` (paired by query; None if the test videos differ or
        R@1 is not defined); ``only``: networks that only one has; ``settings`` that differ: ``key``, ``one``,
        ``other``; ``seconds`` of training of both.

    Raises:
        UserError: one of them has not been evaluated.
    """
    one, two = (_evaluation(folder) for folder in (run, other))
    own, theirs = ({row["key"]: row for row in table["rows"]} for table in (one, two))
    pairs = _pairs(list(own), list(theirs))
    configs = [read_settings(folder / "config.yaml") for folder in (run, other)]
    return {
        "name": configs[1].get("name", other.name),
        "folder": other.name,
        "rows": [
            {
                **{"key": key, "name": own[key]["name"]},
                **{"one": own[key]["recall"]["1"], "other": theirs[other_key]["recall"]["1"]},
                **_difference((run, key), (other, other_key), one["settings"]),
            }
            for key, other_key in pairs
        ],
        "only": sorted(({*own} - {key for key, _ in pairs}) | ({*theirs} - {key for _, key in pairs})),
        "settings": _settings(*configs),
        "seconds": [_seconds(folder) for folder in (run, other)],
    }


def _evaluation(folder: Path) -> dict[str, Any]:
    result = read_result(folder / "evaluation")
    if result is None:
        raise UserError(f"{folder}: no {RESULT_FILE} to compare with; run `vicc-ray evaluate` on this run first")
    return result


def _pairs(own: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    """Networks to compare: those of the same name, and a run's latest of a stream with the given one of another."""
    pairs = [(key, key) for key in own if key in theirs]
    for stream in ("rgb", "flow"):
        latest, model = latest_network(own, stream), f"{stream}-model"
        if latest and latest not in theirs and model in theirs:
            pairs.append((latest, model))
    return pairs


def _difference(one: tuple[Path, str], other: tuple[Path, str], settings: dict[str, Any]) -> dict[str, float | None]:
    """Difference in R@1 of two networks, each named in its run, with its paired bootstrap interval."""
    unknown: dict[str, float | None] = {"difference": None, "low": None, "high": None}
    networks = [(run / "evaluation", key) for run, key in (one, other)]
    known = all(key in feature_names(folder) for folder, key in networks)
    if not known or not have_same_videos(networks[0][0], networks[1][0]):
        return unknown
    results, queries = [], []
    for folder, key in networks:
        table = load_features(feature_path(folder, key)).sorted()
        train, test = (table.split(split).labeled() for split in ("train", "test"))
        results.append(retrieve(train, test, exclude_same_source=settings["exclude_same_source"]))
        queries.append((test.ids.tolist(), test.labels.tolist()))
    if queries[0] != queries[1] or any(math.isnan(one.recall[1]) for one in results):
        return unknown
    difference = results[0].hits.astype(int) - results[1].hits.astype(int)
    low, high = bootstrap_interval(difference, settings["seed"])
    return {"difference": float(np.mean(difference)), "low": low, "high": high}


def _settings(one: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    first, second = (as_config(settings) for settings in (one, other))
    rows: list[dict[str, Any]] = []
    for name in (name for name in type(first).model_fields if name not in NOT_COMPARED):
        values = getattr(first, name), getattr(second, name)
        if not isinstance(values[0], ConfigSection):
            pairs = [(name, *values)]
        else:
            pairs = [
                (f"{name}.{key}", *(plain(getattr(v, key)) for v in values)) for key in type(values[0]).model_fields
            ]
        rows += [{"key": key, "one": a, "other": b} for key, a, b in pairs if a != b]
    return rows


def _seconds(folder: Path) -> float:
    return float(sum(phase["timing"]["seconds"] for phase in read_phases(folder / "metrics.jsonl", 1)))


def _read(data: RunData) -> dict[str, Any] | None:
    return compare(data.run_dir, data.other) if data.other else None


FIGURE = Figure(20, _read)
