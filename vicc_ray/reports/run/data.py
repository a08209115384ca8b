"""The content of ``report.json``: a run folder as the figures read it, and everything that the page shows."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import FeatureFolder
from vicc_ray.evaluation.results_io import read_result
from vicc_ray.evaluation.retrieval_results import NAME, STREAMS, latest_network
from vicc_ray.reports.run.curves import read_epochs, read_phases, read_validation
from vicc_ray.reports.run.figure import find_figures
from vicc_ray.reports.run.settings import as_config, read_settings, recipe_of
from vicc_ray.reports.run.summary import headline, warnings
from vicc_ray.reports.run.thumbnails import Thumbnails
from vicc_ray.training.distributed.local_batch_norm import local_batch_norm_note
from vicc_ray.utils.json_file import read_json


class RunData:
    """A run folder. Every file is read at most once, when a figure first asks for it.

    Attributes:
        other: folder of a run to compare with.
        figures: data of the figures that have been read so far, by name.
        missing: why something is not shown, in a sentence, by topic.
    """

    def __init__(self, run_dir: Path, store: ClipStore | None, other: Path | None = None) -> None:
        self.run_dir, self.store, self.other = run_dir, store, other
        self.figures: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        if store is None:
            self.missing["store"] = "The clip store was not given, so this page has no videos and no counts of them."

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Content of config.yaml."""
        return read_settings(self.run_dir / "config.yaml")

    @cached_property
    def config(self) -> Config:
        """The run's settings, with defaults for those that config.yaml lacks."""
        return as_config(self.settings)

    @cached_property
    def features(self) -> FeatureFolder:
        """FeatureFolder of the run's evaluation."""
        return FeatureFolder(self.run_dir / "evaluation")

    @cached_property
    def thumbnails(self) -> Thumbnails | None:
        """Thumbnails of the store's videos, None without a store."""
        return None if self.store is None else Thumbnails(self.store)

    @cached_property
    def phases(self) -> list[dict[str, Any]]:
        """Training phases with their curves, their ``name`` in words and their ``epochs`` (None if not recorded)."""
        batches = [self.config.of_stage(stage).train.global_batch_size for stage in (1, 2)]
        phases = read_phases(self.run_dir / "metrics.jsonl", *batches)
        epochs = read_epochs(self.run_dir / "epochs.jsonl")
        cycles = sum(phase["phase"].startswith("rgb-stage2") for phase in phases)
        for phase in phases:
            phase["name"] = phase_name(phase["phase"], self.config.schedule.cross_stream, cycles)
            phase["epochs"] = epochs.get(phase["phase"])
        return phases

    @cached_property
    def validation(self) -> list[dict[str, Any]]:
        """Validation results during training."""
        return read_validation(self.run_dir / "validation.jsonl")

    @cached_property
    def retrieval(self) -> dict[str, Any] | None:
        """Content of evaluation.json, None before the evaluation."""
        table: dict[str, Any] | None = _without_nan(read_result(self.run_dir / "evaluation"))
        return table

    @cached_property
    def retrieval_settings(self) -> dict[str, Any]:
        """The settings that the evaluation used, so that every figure searches among the same neighbors."""
        if self.retrieval:
            used = self.retrieval["settings"]
        else:
            used = {"seed": self.config.seed, "exclude_same_source": self.config.evaluate.exclude_same_source}
        return {**used, "cross_stream": self.config.schedule.cross_stream}

    @cached_property
    def unlabeled(self) -> int:
        """Number of videos if none of them has a label; 0 if one has, or if no video is known."""
        name = latest_network(self.features.names, "rgb")
        if name:
            labels = self.features.load(name).labels.tolist()
        else:
            labels = self.store.entries.column("label") if self.store else []
        return 0 if any(labels) else len(labels)


def read_figures(run_dir: Path, store: ClipStore | None, other: Path | None = None) -> dict[str, Any]:
    """The content of report.json. A figure that the run has no data for is None.

    Raises:
        UserError: ``run_dir`` is not a run folder, a file in it is damaged, or ``other`` has not been evaluated.
    """
    return collect(RunData(run_dir, store, other))


def collect(data: RunData) -> dict[str, Any]:
    """The content of report.json, read through ``data``."""
    _check_run_folder(data.run_dir)
    for name, figure in find_figures().items():
        data.figures[name] = figure.read(data)
    warned = warnings(data.phases, data.config, data.validation)
    return {
        "name": data.settings.get("name", data.run_dir.name),
        "backbone": data.config.model.backbone,
        "recipe": recipe_of(data.settings),
        "headline": headline(data.retrieval, data.phases, warned, data.config.schedule.cross_stream, data.unlabeled),
        "warnings": warned,
        "caveats": [note] if (note := local_batch_norm_note(data.config.train)) else [],
        "phases": data.phases,
        "validation": data.validation,
        **data.figures,
        "versions": _versions(data.run_dir / "versions.json"),
        "missing": data.missing,
    }


def phase_name(key: str, cross_stream: bool = True, cycles: int = 1) -> str:
    """A phase in words: "RGB stage 1", "Flow cross-stream", with its number if there are several cycles."""
    match = NAME.fullmatch(key)
    if match is None or match["random"]:
        return key
    stage = "stage 1" if match["stage"] == "1" else ("cross-stream" if cross_stream else "alone")
    return f"{STREAMS[match['stream']]} {stage}" + (f" {match['cycle']}" if match["cycle"] and cycles > 1 else "")


def _check_run_folder(run_dir: Path) -> None:
    expected = ("config.yaml", "metrics.jsonl", "evaluation")
    if not any((run_dir / name).exists() for name in expected):
        raise UserError(
            f"{run_dir} is not a run folder: it has none of {', '.join(expected)}. "
            "Give the folder that `vicc-ray pretrain` wrote"
        )


def _versions(file: Path) -> dict[str, str]:
    try:
        versions = read_json(file, "versions", "delete it")
    except FileNotFoundError:
        return {}
    return {name: str(version) for name, version in versions.items()}


def _without_nan(value: Any) -> Any:
    """The same value with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
