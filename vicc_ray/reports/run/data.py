"""Everything that the report shows, as one structure that JSON can hold: ``report.json``."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import FeatureFolder, feature_names
from vicc_ray.evaluation.results_io import read_result
from vicc_ray.evaluation.retrieval_results import NAME, STREAMS, latest_network
from vicc_ray.reports.run.classification import read_classification
from vicc_ray.reports.run.comparison import compare
from vicc_ray.reports.run.confusion import read_classes
from vicc_ray.reports.run.curves import read_checks, read_epochs, read_phases
from vicc_ray.reports.run.embedding_map import read_map
from vicc_ray.reports.run.gallery import find_neighbours
from vicc_ray.reports.run.prototypes import read_prototypes
from vicc_ray.reports.run.reference_results import published
from vicc_ray.reports.run.settings import as_config, read_settings, recipe_of, settings
from vicc_ray.reports.run.summary import headline
from vicc_ray.reports.run.warnings import warnings
from vicc_ray.runs.stage_times import stage_seconds
from vicc_ray.utils.json_file import read_json
from vicc_ray.utils.jsonl import read_lines

REASONS = 12  # failures listed on the page; the rest are counted


def read_figures(run_dir: Path, store: ClipStore | None, other: Path | None = None) -> dict[str, Any]:
    """Read a run folder; what is not there (yet) is None, and ``missing`` says why, by section.

    Args:
        other: a run to compare with.

    Raises:
        UserError: ``run_dir`` is no run folder, or ``other`` has not been evaluated.
    """
    _check_run(run_dir)
    config = read_settings(run_dir / "config.yaml")
    batch = config.get("train", {}).get("global_batch_size", Config().train.global_batch_size)
    cross = config.get("schedule", {}).get("cross_stream", True)
    missing: dict[str, str] = {}
    phases = read_phases(run_dir / "metrics.jsonl", batch)
    cycles = sum(phase["phase"].startswith("rgb-stage2") for phase in phases)
    epochs = read_epochs(run_dir / "epochs.jsonl")
    for phase in phases:
        phase["name"] = phase_label(phase["phase"], cross, cycles)
        phase["epochs"] = epochs.get(phase["phase"])
    if not phases:
        missing["training"] = "No steps are recorded yet (metrics.jsonl): run `vicc-ray pretrain`."
    if not epochs:
        missing["epochs"] = "No figures by epoch are recorded (epochs.jsonl): no epoch is over yet, or the run is old."
    checks, features = read_checks(run_dir / "validation.jsonl"), FeatureFolder(run_dir / "evaluation")
    unlabelled = _unlabelled(features, store)
    if not checks:
        missing["checks"] = _why_no_checks(unlabelled)
    table = _finite(read_result(run_dir / "evaluation"))
    if table is None:
        missing["table"] = _why_no_table(run_dir, unlabelled)
    asked = {**(table["settings"] if table else _asked(config)), "cross_stream": cross}
    gallery = _gallery(features, asked, missing)
    if store is None:
        missing["store"] = "The clip store is not at hand, so there are no videos to show and none to count."
    resolved = as_config(config)
    found = warnings(phases, resolved, checks)
    return {
        "name": config.get("name", run_dir.name),
        "backbone": resolved.model.backbone,
        "headline": headline(table, phases, found, cross, unlabelled),
        "warnings": found,
        "table": table,
        "published": published(resolved, table["dataset"] if table else None),
        "classes": read_classes(table),
        "comparison": compare(run_dir, other) if other else None,
        "gallery": gallery,
        "map": read_map(features, asked),
        "prototypes": read_prototypes(run_dir, resolved, features),
        "classification": read_classification(run_dir),
        "phases": phases,
        "checks": checks,
        "timing": total_timing(phases),
        "stages": stage_seconds(run_dir),
        "data": None if store is None else account(store),
        "settings": settings(config),
        "recipe": recipe_of(config),
        "versions": _versions(run_dir / "versions.json"),
        "missing": missing,
    }


def phase_label(name: str, cross_stream: bool = True, cycles: int = 1) -> str:
    """A phase in words: "RGB stage 1", "Flow cross-stream", with its number where there are several cycles."""
    match = NAME.fullmatch(name)
    if match is None or match["random"]:
        return name
    stage = "stage 1" if match["stage"] == "1" else ("cross-stream" if cross_stream else "alone")
    return f"{STREAMS[match['stream']]} {stage}" + (f" {match['cycle']}" if match["cycle"] and cycles > 1 else "")


def total_timing(phases: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Sums over the phases; None without steps."""
    timed = [phase for phase in phases if phase["timing"]["seconds"]]
    if not timed:
        return None
    seconds = sum(phase["timing"]["seconds"] for phase in timed)
    wait = sum(phase["timing"]["data_wait_seconds"] for phase in timed)
    samples = sum(phase["timing"]["samples_per_s"] * phase["timing"]["seconds"] for phase in timed)
    peaks = [phase["epochs"]["memory_peak_mib"] for phase in phases if phase["epochs"]]
    return {
        "steps": sum(phase["steps"] for phase in phases),
        "seconds": seconds,
        "data_wait_share": wait / seconds,
        "samples_per_s": samples / seconds,
        "workers": sorted({w for phase in phases for w in phase["timing"]["workers"]}),
        "memory_peak_mib": max((peak for peak in peaks if peak is not None), default=None),
    }


def account(store: ClipStore) -> dict[str, Any]:
    """Where every input of ``prepare`` went: rows by split, and failures by reason."""
    entries = store.entries
    counts = Counter(entry.split for entry in entries)
    failures = read_lines(store.failures_file)
    return {
        "inputs": len(entries) + len(failures),
        "videos": len(entries),
        "splits": {name: counts[name] for name in ("train", "test", "") if counts[name]},
        "classes": dict(sorted(Counter(entry.label for entry in entries if entry.label).items())),
        "sources": len({entry.source for entry in entries if entry.source}),
        "frames": sum(entry.frames for entry in entries),
        "seconds": sum(entry.frames / entry.fps for entry in entries if entry.fps > 0),
        "failed": len(failures),
        "failures": [{"path": str(f.get("path", "")), "reason": str(f.get("reason", ""))} for f in failures[:REASONS]],
    }


def _unlabelled(features: FeatureFolder, store: ClipStore | None) -> int:
    """How many videos there are where none of them has a label; 0 where one has, or where none is known."""
    name = latest_network(features.names, "rgb")
    labels = features.load(name).labels.tolist() if name else store.entries.column("label") if store else []
    return 0 if any(labels) else len(labels)


def _gallery(features: FeatureFolder, asked: dict[str, Any], missing: dict[str, str]) -> dict[str, Any] | None:
    """``asked``: what the table was made with, so that both look among the same neighbours."""
    try:
        return find_neighbours(features, asked)
    except UserError as error:
        missing["gallery"] = f"Nothing to show yet: {error}."
        return None


def _asked(config: dict[str, Any]) -> dict[str, Any]:
    ignore = config.get("evaluate", {}).get("exclude_same_source", Config().evaluate.exclude_same_source)
    return {"seed": config.get("seed", Config().seed), "exclude_same_source": ignore}


def _why_no_checks(unlabelled: int) -> str:
    why = "they need labels" if unlabelled else "train.validate_every_epochs sets how often they are made"
    return f"No held-out checks are recorded ({why})."


def _why_no_table(run_dir: Path, unlabelled: int) -> str:
    if unlabelled:
        return (
            "The videos are without labels, and R@k counts how often the nearest neighbours show the class of a video. "
            "To have it, put the videos in one folder a class, or give --labels, and prepare them into another folder."
        )
    if feature_names(run_dir / "evaluation"):
        return (
            "Features are there, but not scored: R@k needs labelled videos in train and in test. Run `vicc-ray "
            "evaluate` to see what is wrong."
        )
    return "Retrieval has not been evaluated yet: run `vicc-ray evaluate`."


def _check_run(run_dir: Path) -> None:
    expected = ("config.yaml", "metrics.jsonl", "evaluation")
    if not any((run_dir / name).exists() for name in expected):
        raise UserError(
            f"{run_dir} is no run folder: it has none of {', '.join(expected)}; "
            "give the folder that `vicc-ray pretrain` wrote"
        )


def _versions(file: Path) -> dict[str, str]:
    try:
        found = read_json(file, "versions", "delete it")
    except FileNotFoundError:
        return {}
    return {name: str(version) for name, version in found.items()}


def _finite(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
