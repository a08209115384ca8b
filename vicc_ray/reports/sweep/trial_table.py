"""The table of all trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vicc_ray.config.yaml import short_value
from vicc_ray.reports.formats import percent_fixed
from vicc_ray.reports.svg.axes import is_number
from vicc_ray.reports.sweep.trial_style import WORDS, interval, names, score, style
from vicc_ray.sweep.live_table import ranked
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.sweep.trial import Trial


@dataclass(frozen=True)
class Cell:
    """A table cell; ``order``: sort key, a number or a text; ``note``: shown small after the text."""

    text: str
    order: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A trial's row."""

    number: int
    style: str
    state: str
    score: Cell
    epochs: Cell
    minutes: Cell
    values: list[Cell]
    notes: list[str]
    """Why it ended, and its warnings."""


def rows(summary: SweepSummary) -> list[Row]:
    """Running trials, then complete ones by R@1, then pruned ones, then failed ones."""
    return [_row(trial, summary) for trial in ranked(summary.trials)]


def _row(trial: Trial, summary: SweepSummary) -> Row:
    ends, value = interval(trial), score(trial)
    notes = [trial.reason] if trial.reason else []
    notes += [f"warnings: {', '.join(trial.warnings)}"] if trial.warnings else []
    return Row(
        number=trial.number,
        style=style(trial, summary),
        state=WORDS[trial.state],
        score=Cell(percent_fixed(value), "" if value is None else f"{value:.6f}",
                   f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if ends else ""),
        epochs=Cell(f"{trial.cost.epochs:.1f}".removesuffix(".0"), f"{trial.cost.epochs}"),
        minutes=Cell(f"{trial.cost.seconds / 60:.1f}", f"{trial.cost.seconds}"),
        values=[_value(trial.values.get(key)) for key in names(summary)],
        notes=notes,
    )  # fmt: skip


def _value(value: Any) -> Cell:
    if value is None:
        return Cell("–", "")
    return Cell(short_value(value), repr(value) if is_number(value) else short_value(value))
