"""Dots and curves over two axes, as SVG under HTML: the picture stretches with the page, dots stay round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from vicc_ray.reports.svg.axes import Axis
from vicc_ray.reports.svg.line_chart import HEIGHT, WIDTH, draw_legend

Point = tuple[float, float]
"""Shares of the width and, from below, of the height."""


@dataclass(frozen=True)
class Dot:
    """``style``: CSS classes; ``trial``: of which it tells, if of one; ``title``: what a pointer reads."""

    at: Point
    style: str
    trial: int | None = None
    title: str = ""


@dataclass(frozen=True)
class Curve:
    """``style``: CSS classes ("line", "whisker", "area"; a line that is "smooth" leaves and reaches points level);
    ``share``: where it lies on the scale of colours."""

    points: Sequence[Point]
    style: str
    trial: int | None = None
    share: float | None = None


@dataclass(frozen=True)
class Plot:
    """What is drawn; ``summary`` is for readers who cannot see it. ``upright``: whether grid lines stand."""

    summary: str
    x: Axis
    y: Axis
    curves: Sequence[Curve] = ()
    dots: Sequence[Dot] = ()
    legend: Sequence[tuple[str, str]] = ()
    x_name: str = ""
    style: str = ""
    upright: bool = False


def draw(plot: Plot) -> Markup:
    """The plot as HTML; every text in it is escaped."""
    grid = [_stroke([(at, 0), (at, 1)] if plot.upright else [(0, at), (1, at)]) for at in _grid(plot)]
    texts = [_tick_y(share, text) for share, text in plot.y.ticks]
    texts += [_tick_x(share, text, plot.x.choices) for share, text in plot.x.ticks]
    if plot.x_name:
        texts.append(Markup('<span class="x-name">{}</span>').format(plot.x_name))
    return Markup('<div class="chart {}" role="img" aria-label="{}"><div class="plot">{}{}{}</div></div>{}').format(
        plot.style,
        plot.summary,
        draw_curves([*grid, *plot.curves]),
        Markup("").join(texts),
        draw_dots(plot.dots),
        draw_legend(plot.legend) if plot.legend else "",
    )


def draw_curves(curves: Sequence[Curve]) -> Markup:
    """The SVG. Under a line of a trial lies a broad unseen one that a pointer finds more easily."""
    paths = [path for curve in curves for path in _paths(curve)]
    return Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        WIDTH, HEIGHT, Markup("").join(paths)
    )


def draw_dots(dots: Sequence[Dot]) -> Markup:
    """Dots as HTML elements over the SVG."""
    return Markup("").join(
        Markup('<i class="pt {}"{} style="left:{:.2f}%;bottom:{:.2f}%" title="{}"></i>').format(
            dot.style, _of(dot.trial), 100 * dot.at[0], 100 * dot.at[1], dot.title
        )
        for dot in dots
    )


def _grid(plot: Plot) -> list[float]:
    axis = plot.x if plot.upright else plot.y
    return [share for share, _ in axis.ticks]


def _stroke(points: Sequence[Point]) -> Curve:
    return Curve(points, "grid")


def _paths(curve: Curve) -> list[Markup]:
    path = _path(curve)
    colour = "" if curve.share is None else Markup(' style="--v:{:.0f}%"').format(100 * curve.share)
    form = Markup('<path class="{}"{}{} d="{}" vector-effect="non-scaling-stroke"/>')
    drawn = [form.format(curve.style, _of(curve.trial), colour, path)]
    if curve.trial is not None and "line" in curve.style:
        drawn.append(form.format("near", _of(curve.trial), "", path))
    return drawn


def _path(curve: Curve) -> str:
    places = [(x * WIDTH, (1 - y) * HEIGHT) for x, y in curve.points]
    parts = [f"M{places[0][0]:.1f} {places[0][1]:.1f}"] if places else []
    for (x0, y0), (x1, y1) in pairwise(places):
        middle = (x0 + x1) / 2
        bend = f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} " if "smooth" in curve.style else "L"
        parts.append(f"{bend}{x1:.1f} {y1:.1f}")
    return "".join(parts) + ("Z" if "area" in curve.style else "")


def _of(trial: int | None) -> Markup:
    return Markup("") if trial is None else Markup(' data-t="{}"').format(trial)


def _tick_y(share: float, text: str) -> Markup:
    return Markup('<span class="tick-y" style="bottom:{:.2f}%" title="{}">{}</span>').format(100 * share, text, text)


def _tick_x(share: float, text: str, choices: int) -> Markup:
    room = Markup(";max-width:{:.1f}%").format(100 / min(choices, 10)) if choices else ""
    return Markup('<span class="tick-x" style="left:{:.2f}%{}" title="{}">{}</span>').format(
        100 * share, room, text, text
    )
