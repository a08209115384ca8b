"""Charts as inline SVG under HTML text: the SVG stretches with the page, text and strokes keep their size.

Every chart of both pages is a :class:`Chart` that :func:`draw` turns into HTML. Positions are fractions of the plot,
as :mod:`vicc_ray.reports.svg.axes` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from vicc_ray.reports.svg.axes import Axis
from vicc_ray.reports.svg.scatter import Dot, Position, draw_dots, trial_attribute

WIDTH, HEIGHT = 1000, 400
"""Units of the SVG, which is stretched to its box."""
MAX_LABEL_COLUMNS = 10


@dataclass(frozen=True)
class Curve:
    """A line or a filled area through ``points``; None interrupts it.

    ``style``: CSS classes. "area" closes and fills it, "smooth" bends it so that it passes its points horizontally.
    ``trial``: number of the trial that it stands for. ``shade``: position on the page's color ramp, 0 to 1.
    """

    points: Sequence[Position | None]
    style: str
    trial: int | None = None
    shade: float | None = None


@dataclass(frozen=True)
class Span:
    """A named range of the x axis (a training phase). The first word of its label is on a line of its own."""

    start: float
    end: float
    label: str
    style: str


@dataclass(frozen=True)
class Rule:
    """A labeled horizontal reference line."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart's content. ``summary``: its text for screen readers; ``legend``: (CSS classes, text)."""

    summary: str
    x: Axis
    y: Axis
    curves: Sequence[Curve] = ()
    dots: Sequence[Dot] = ()
    spans: Sequence[Span] = ()
    rules: Sequence[Rule] = ()
    legend: Sequence[tuple[str, str]] = ()
    x_name: str = ""
    style: str = ""
    vertical_grid: bool = False


def draw(chart: Chart) -> Markup:
    """The chart as HTML; every text in it is escaped."""
    texts = [_tick_y(fraction, text) for fraction, text in chart.y.ticks]
    texts += [_tick_x(fraction, text, chart.x.choices) for fraction, text in chart.x.ticks]
    texts += [_rule_label(rule) for rule in chart.rules]
    if chart.x_name:
        texts.append(Markup('<span class="x-name">{}</span>').format(chart.x_name))
    form = Markup('<div class="chart {}" role="img" aria-label="{}">{}<div class="plot">{}{}{}</div></div>{}')
    return form.format(
        chart.style,
        chart.summary,
        _draw_spans(chart.spans),
        draw_curves([*_reference_lines(chart), *chart.curves]),
        Markup("").join(texts),
        draw_dots(chart.dots),
        draw_legend(chart.legend) if chart.legend else "",
    )


def draw_curves(curves: Sequence[Curve]) -> Markup:
    """The SVG. Below a trial's line lies a wide transparent one that is easier to hit with the pointer."""
    paths = [path for curve in curves for path in _paths(curve)]
    return Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        WIDTH, HEIGHT, Markup("").join(paths)
    )


def draw_legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the marks of a chart stand for, from (CSS classes, text)."""
    keys = [Markup('<span class="key"><i class="{}"></i>{}</span>').format(style, text) for style, text in entries]
    return Markup('<div class="legend" aria-hidden="true">{}</div>').format(Markup("").join(keys))


def _reference_lines(chart: Chart) -> list[Curve]:
    if chart.vertical_grid:
        grid = [Curve([(at, 0), (at, 1)], "grid") for at, _ in chart.x.ticks]
    else:
        grid = [Curve([(0, at), (1, at)], "grid") for at, _ in chart.y.ticks]
    boundaries = [Curve([(span.start, 1), (span.start, 0)], "boundary") for span in chart.spans[1:]]
    return [*grid, *boundaries, *(Curve([(0, rule.at), (1, rule.at)], "rule") for rule in chart.rules)]


def _paths(curve: Curve) -> list[Markup]:
    path = _path(curve)
    color = "" if curve.shade is None else Markup(' style="--shade:{:.0f}%"').format(100 * curve.shade)
    form = Markup('<path class="{}"{}{} d="{}" vector-effect="non-scaling-stroke"/>')
    paths = [form.format(curve.style, trial_attribute(curve.trial), color, path)]
    if curve.trial is not None and "line" in curve.style:
        paths.append(form.format("hit-area", trial_attribute(curve.trial), "", path))
    return paths


def _path(curve: Curve) -> str:
    parts: list[str] = []
    for before, point in pairwise([None, *curve.points]):
        if point is None:
            continue
        x, y = _to_svg(point)
        if before is None:
            parts.append(f"M{x:.1f} {y:.1f}")
        elif "smooth" in curve.style:
            x0, y0 = _to_svg(before)
            middle = (x0 + x) / 2
            parts.append(f"C{middle:.1f} {y0:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}")
        else:
            parts.append(f"L{x:.1f} {y:.1f}")
    return "".join(parts) + ("Z" if "area" in curve.style else "")


def _to_svg(point: Position) -> Position:
    return point[0] * WIDTH, (1 - point[1]) * HEIGHT


def _draw_spans(spans: Sequence[Span]) -> Markup:
    if not spans:
        return Markup("")
    form = Markup('<span class="phase {}" style="left:{:.2f}%;width:{:.2f}%" title="{}"><b>{}</b>{}</span>')
    labels = [
        form.format(
            span.style, 100 * span.start, 100 * (span.end - span.start), span.label, *span.label.partition(" ")[::2]
        )
        for span in spans
    ]
    return Markup('<div class="phases">{}</div>').format(Markup("").join(labels))


def _rule_label(rule: Rule) -> Markup:
    return Markup('<span class="rule-label" style="bottom:{:.2f}%">{}</span>').format(100 * rule.at, rule.label)


def _tick_y(fraction: float, text: str) -> Markup:
    return Markup('<span class="tick-y" style="bottom:{:.2f}%" title="{}">{}</span>').format(100 * fraction, text, text)


def _tick_x(fraction: float, text: str, choices: int) -> Markup:
    limit = Markup(";max-width:{:.1f}%").format(100 / min(choices, MAX_LABEL_COLUMNS)) if choices else ""
    return Markup('<span class="tick-x" style="left:{:.2f}%{}" title="{}">{}</span>').format(
        100 * fraction, limit, text, text
    )
