"""Parallel coordinates: every trial is a line through its settings to its R@1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vicc_ray.reports.svg.axes import Axis, score_axis, setting_axis
from vicc_ray.reports.svg.line_chart import Curve, draw_curves
from vicc_ray.reports.svg.scatter import Position
from vicc_ray.reports.sweep.trial_style import best_last, names, percent, score, scored, style
from vicc_ray.sweep.results import Summary
from vicc_ray.sweep.trial import Trial

FLOOR = 0.13
"""Where axes begin if there is a place below them for settings that a condition left out."""
LEFT_OUT = 0.03
COLUMN = 132
"""Pixels of an axis at least; where they have no room, the picture scrolls."""


@dataclass(frozen=True)
class _Column:
    at: float
    name: str
    section: str
    axis: Axis
    left_out: bool = False


def draw_parallel(summary: Summary) -> Markup:
    """Axes from left to right in the order of the search, R@1 at the right; colour by R@1."""
    columns, floor = _columns(summary), _floor(summary)
    values = [value for _, value in scored(summary.trials)]
    axis = columns[-1].axis
    curves = [Curve([(column.at, floor), (column.at, 1.0)], "axis") for column in columns]
    shades = score_axis(values) if len(set(values)) < 2 else _between(min(values), max(values))
    for trial in sorted(best_last(summary), key=lambda t: (style(t, summary).endswith("best"), score(t) or 0.0)):
        value = score(trial)
        points = [(column.at, _height(column, key, trial, floor)) for column, key in
                  zip(columns, summary.searched, strict=False)]  # fmt: skip
        points += [] if value is None else [(columns[-1].at, floor + (1 - floor) * axis.place(value))]
        share = None if value is None else shades.place(value)
        shown = points if len(points) > 1 else _alone(points)
        curves.append(Curve(shown, f"line smooth run {style(trial, summary)}", trial.number, share))
    told = f"{len(summary.trials)} trials over {len(summary.searched)} settings and R@1"
    if summary.best:
        told += f"; the best reaches {percent(score(summary.best))}"
    return Markup(
        '<div class="parallel" style="min-width:{}px" role="img" aria-label="{}.">{}<div class="plot">{}{}</div></div>'
    ).format(COLUMN * len(columns), told, _heads(columns), draw_curves(curves), _ticks(columns, floor))


def leaves_out(summary: Summary) -> bool:
    """Whether conditions left a setting out of some trial."""
    return any(trial.values.get(key) is None for trial in summary.trials for key in summary.searched)


def _columns(summary: Summary) -> list[_Column]:
    count, short = len(summary.searched) + 1, names(summary)
    columns = [
        _Column((index + 0.5) / count, short[key], key.rpartition(".")[0],
                setting_axis([trial.values.get(key) for trial in summary.trials]),
                any(trial.values.get(key) is None for trial in summary.trials))
        for index, key in enumerate(summary.searched)
    ]  # fmt: skip
    scores = [value for _, value in scored(summary.trials)]
    return [*columns, _Column((count - 0.5) / count, "R@1", "held-out videos", score_axis(scores))]


def _height(column: _Column, key: str, trial: Trial, floor: float) -> float:
    value: Any = trial.values.get(key)
    return LEFT_OUT if value is None else floor + (1 - floor) * column.axis.place(value)


def _floor(summary: Summary) -> float:
    return FLOOR if leaves_out(summary) else 0.0


def _alone(points: list[Position]) -> list[Position]:
    """One setting and no score: a short stroke through its axis."""
    return [(x + side, y) for x, y in points for side in (-0.02, 0.02)]


def _between(low: float, high: float) -> Axis:
    return Axis(lambda value: (value - low) / (high - low), [])


def _heads(columns: list[_Column]) -> Markup:
    heads = [
        Markup('<span style="left:{:.2f}%;width:{:.2f}%" title="{}"><small>{}</small>{}</span>').format(
            100 * column.at, 100 / len(columns), column.name, column.section or "\u00a0", column.name
        )
        for column in columns
    ]
    return Markup('<div class="heads">{}</div>').format(Markup("").join(heads))


def _ticks(columns: list[_Column], floor: float) -> Markup:
    form = Markup('<span class="tick" style="left:{:.2f}%;bottom:{:.2f}%;max-width:{:.2f}%" title="{}">{}</span>')
    room = 80 / len(columns)
    texts = [
        form.format(100 * column.at, 100 * (floor + (1 - floor) * share), room, text, text)
        for column in columns
        for share, text in column.axis.ticks
    ]
    if floor:
        texts += [
            form.format(100 * c.at, 100 * LEFT_OUT, room, "left out", "left out") for c in columns[:-1] if c.left_out
        ]
    return Markup("").join(texts)
