"""Parallel coordinates: a line per trial, through its settings to its R@1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vicc_ray.reports.formats import percent_fixed
from vicc_ray.reports.svg.axes import Axis, score_axis, setting_axis
from vicc_ray.reports.svg.line_chart import Curve, draw_curves
from vicc_ray.reports.svg.scatter import Position
from vicc_ray.reports.sweep.trial_style import by_drawing_order, names, score, scored, style
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.sweep.trial import Trial

FLOOR = 0.13
"""Lower end of the axes if there is room below them for inactive settings."""
INACTIVE = 0.03
MIN_COLUMN_PX = 132
"""Pixels per axis; in a narrower window the chart scrolls."""


@dataclass(frozen=True)
class _Column:
    at: float
    name: str
    section: str
    axis: Axis
    has_inactive: bool = False


def draw_parallel(summary: SweepSummary) -> Markup:
    """Axes in the order of the search space, R@1 last; lines are colored by R@1."""
    columns, floor = _columns(summary), _floor(summary)
    values = [value for _, value in scored(summary.trials)]
    axis = columns[-1].axis
    curves = [Curve([(column.at, floor), (column.at, 1.0)], "axis") for column in columns]
    shades = score_axis(values) if len(set(values)) < 2 else _between(min(values), max(values))
    for trial in sorted(by_drawing_order(summary), key=lambda t: (style(t, summary).endswith("best"), score(t) or 0.0)):
        value = score(trial)
        points = [(column.at, _height(column, key, trial, floor)) for column, key in
                  zip(columns, summary.searched, strict=False)]  # fmt: skip
        points += [] if value is None else [(columns[-1].at, floor + (1 - floor) * axis.place(value))]
        share = None if value is None else shades.place(value)
        shown = points if len(points) > 1 else _stroke(points)
        curves.append(Curve(shown, f"line smooth run {style(trial, summary)}", trial.number, share))
    description = f"{len(summary.trials)} trials over {len(summary.searched)} settings and R@1"
    if summary.best:
        description += f"; the best reaches {percent_fixed(score(summary.best))}"
    return Markup(
        '<div class="parallel" style="min-width:{}px" role="img" aria-label="{}.">{}<div class="plot">{}{}</div></div>'
    ).format(MIN_COLUMN_PX * len(columns), description, _heads(columns), draw_curves(curves), _ticks(columns, floor))


def has_inactive(summary: SweepSummary) -> bool:
    """Whether some setting's condition did not hold in some trial."""
    return any(trial.values.get(key) is None for trial in summary.trials for key in summary.searched)


def _columns(summary: SweepSummary) -> list[_Column]:
    count, short = len(summary.searched) + 1, names(summary)
    columns = [
        _Column((index + 0.5) / count, short[key], key.rpartition(".")[0],
                setting_axis([trial.values.get(key) for trial in summary.trials]),
                any(trial.values.get(key) is None for trial in summary.trials))
        for index, key in enumerate(summary.searched)
    ]  # fmt: skip
    scores = [value for _, value in scored(summary.trials)]
    return [*columns, _Column((count - 0.5) / count, "R@1", "validation", score_axis(scores))]


def _height(column: _Column, key: str, trial: Trial, floor: float) -> float:
    value: Any = trial.values.get(key)
    return INACTIVE if value is None else floor + (1 - floor) * column.axis.place(value)


def _floor(summary: SweepSummary) -> float:
    return FLOOR if has_inactive(summary) else 0.0


def _stroke(points: list[Position]) -> list[Position]:
    """A line for a trial with a single setting and no score: a short stroke through its axis."""
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
            form.format(100 * c.at, 100 * INACTIVE, room, "inactive", "inactive")
            for c in columns[:-1]
            if c.has_inactive
        ]
    return Markup("").join(texts)
