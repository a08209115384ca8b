"""Line charts as inline SVG under HTML text: the picture stretches with the page, letters and strokes do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 1000, 400  # units of the SVG, stretched to its box
Value = float | None


@dataclass(frozen=True)
class Line:
    """A curve; ``style``: its CSS classes ("rgb" or "flow", besides "faint", "dashed", "dots"). None breaks it."""

    x: Sequence[float]
    y: Sequence[Value]
    style: str


@dataclass(frozen=True)
class Area:
    """The band between two curves."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    style: str


@dataclass(frozen=True)
class Span:
    """A stretch of the horizontal axis (a phase); the first word of its name stands above the others."""

    start: float
    end: float
    label: str
    style: str


@dataclass(frozen=True)
class Rule:
    """A level marked across the chart."""

    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """What is drawn. ``summary`` is for readers who cannot see it; ``legend``: (CSS classes, text)."""

    summary: str
    lines: Sequence[Line]
    areas: Sequence[Area] = ()
    spans: Sequence[Span] = ()
    rules: Sequence[Rule] = ()
    legend: Sequence[tuple[str, str]] = ()
    floor: float | None = None
    as_percent: bool = False


def draw(chart: Chart) -> Markup:
    """The chart as HTML; every text in it is escaped."""
    x, y, ticks_y, ends = _scales(chart)
    shapes = [_shape(f"M0 {y(t):.1f}H{WIDTH}", "grid") for t in ticks_y]
    shapes += [_shape(_band(area, x, y), f"area {area.style}") for area in chart.areas]
    shapes += [_shape(f"M{x(span.start):.1f} 0V{HEIGHT}", "boundary") for span in chart.spans[1:]]
    shapes += [_shape(f"M0 {y(rule.y):.1f}H{WIDTH}", "rule") for rule in chart.rules]
    shapes += [_shape(_path(line, x, y), f"line {line.style}") for line in chart.lines]
    svg = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        WIDTH, HEIGHT, Markup("").join(shapes)
    )
    texts = [_text("tick-y", "bottom", 1 - y(t) / HEIGHT, _number(t, chart.as_percent)) for t in ticks_y]
    texts += [
        _text("tick-x", "left", x(t) / WIDTH, _count(t)) for t in nice_ticks(*ends, count=6) if ends[0] <= t <= ends[1]
    ]
    texts += [_text("rule-label", "bottom", 1 - y(rule.y) / HEIGHT, rule.label) for rule in chart.rules]
    return Markup('<div class="chart" role="img" aria-label="{}">{}<div class="plot">{}{}</div></div>{}').format(
        chart.summary, _span_labels(chart.spans, x), svg, Markup("").join(texts), draw_legend(chart.legend)
    )


def draw_legend(keys: Sequence[tuple[str, str]]) -> Markup:
    """What the marks of a chart stand for, as (CSS classes, text)."""
    shown = [Markup('<span class="key"><i class="{}"></i>{}</span>').format(style, text) for style, text in keys]
    return Markup('<div class="legend" aria-hidden="true">{}</div>').format(Markup("").join(shown))


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers (1, 2, 2.5, 5 times a power of ten) that span ``low`` to ``high``, in order."""
    rough = ((high - low) or abs(high) or 1.0) / (count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


Scale = Callable[[float], float]


def _scales(chart: Chart) -> tuple[Scale, Scale, list[float], tuple[float, float]]:
    """Position on the axes, the levels of the grid, and the ends of the horizontal axis."""
    xs = [v for line in chart.lines for v in line.x] + [v for s in chart.spans for v in (s.start, s.end)] or [0.0]
    ys = [v for line in chart.lines for v in line.y if v is not None] + [rule.y for rule in chart.rules]
    ys += [v for area in chart.areas for v in (*area.low, *area.high)]
    ys += [] if chart.floor is None else [chart.floor]
    ticks = nice_ticks(min(ys, default=0.0), max(ys, default=1.0), count=6)
    left, width = min(xs), (max(xs) - min(xs)) or 1.0
    bottom, height = ticks[0], ticks[-1] - ticks[0]
    return (
        lambda value: (value - left) / width * WIDTH,
        lambda value: (1 - (value - bottom) / height) * HEIGHT,
        ticks,
        (left, left + width),
    )


def _path(line: Line, x: Scale, y: Scale) -> str:
    """Line or dots; a dot is a stroke of no length with round ends, which stays round when the picture is stretched."""
    parts, pen = [], "M"
    for at, value in zip(line.x, line.y, strict=True):
        if value is None:
            pen = "M"
        elif "dots" in line.style:
            parts.append(f"M{x(at):.1f} {y(value):.1f}h0")
        else:
            parts.append(f"{pen}{x(at):.1f} {y(value):.1f}")
            pen = "L"
    return "".join(parts)


def _band(area: Area, x: Scale, y: Scale) -> str:
    upper = [f"{x(at):.1f} {y(value):.1f}" for at, value in zip(area.x, area.high, strict=True)]
    lower = [f"{x(at):.1f} {y(value):.1f}" for at, value in zip(area.x, area.low, strict=True)]
    return "M" + "L".join([*upper, *reversed(lower)]) + "Z"


def _shape(path: str, style: str) -> Markup:
    return Markup('<path class="{}" d="{}" vector-effect="non-scaling-stroke"/>').format(style, path)


def _text(style: str, side: str, share: float, text: str) -> Markup:
    return Markup('<span class="{}" style="{}:{:.2f}%">{}</span>').format(style, side, 100 * share, text)


def _span_labels(spans: Sequence[Span], x: Scale) -> Markup:
    labels = [
        Markup('<span class="phase {}" style="left:{:.2f}%;width:{:.2f}%" title="{} {}"><b>{}</b>{}</span>').format(
            span.style,
            x(span.start) / WIDTH * 100,
            (x(span.end) - x(span.start)) / WIDTH * 100,
            *span.label.partition(" ")[::2],
            *span.label.partition(" ")[::2],
        )
        for span in spans
    ]
    return Markup('<div class="phases">{}</div>').format(Markup("").join(labels))


def _number(value: float, as_percent: bool) -> str:
    return f"{100 * value:g} %" if as_percent else f"{value:g}"


def _count(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
