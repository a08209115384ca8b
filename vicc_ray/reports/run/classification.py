"""Accuracy of linear probes and of fine-tuned networks, as `vicc-ray classify` leaves it in a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.evaluation.classification_results import TABLE_FILE
from vicc_ray.utils.json_file import read_validated

FOLDER = "classify"
"""Of a run; see ``vicc_ray/pipelines/train/classify.py``."""


@dataclass(frozen=True)
class _Row:
    name: str
    top1: float
    low: float
    high: float
    top5: float | None
    chance: float


@dataclass(frozen=True)
class _Table:
    rows: list[_Row]
    notes: list[str]


def read_classification(run: Path) -> dict[str, Any] | None:
    """The content of the run's ``classify/classification.json``, None where nothing was classified.

    Raises:
        UserError: it is damaged, or something is missing in it.
    """
    file, remedy = run / FOLDER / TABLE_FILE, "delete it and run `vicc-ray classify` again"
    try:
        return read_validated(file, _Table, "a table of classifications", remedy)
    except FileNotFoundError:
        return None
