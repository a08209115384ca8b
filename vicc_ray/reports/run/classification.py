"""Accuracy of linear probes and fine-tuned networks, as `vicc-ray classify` writes it into a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.evaluation.classification_results import TABLE_FILE
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.utils.json_file import read_validated

FOLDER = "classify"
"""Subfolder of a run."""


@dataclass(frozen=True)
class _ClassifierScore:
    name: str
    top1: float
    low: float
    high: float
    top5: float | None
    chance: float


@dataclass(frozen=True)
class _Table:
    rows: list[_ClassifierScore]
    notes: list[str]


def read_classification(run: Path) -> dict[str, Any] | None:
    """Content of the run's ``classify/classification.json``; None if there is none.

    Raises:
        UserError: the file is damaged or incomplete.
    """
    file, remedy = run / FOLDER / TABLE_FILE, "delete it and run `vicc-ray classify` again"
    try:
        return read_validated(file, _Table, "a table of classifications", remedy)
    except FileNotFoundError:
        return None


def _read(data: RunData) -> dict[str, Any] | None:
    return read_classification(data.run_dir)


FIGURE = Figure(80, _read)
