"""Scatter charts as plain SVG, for the figures of benchmarks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 620, 430, 56, 34, 44
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.axis{stroke:#bbb}.grid{stroke:#eee}.title{font-weight:600;"
    "font-size:14px}.dot{fill:#6b7a90}.chosen{fill:#d1495b}.name{font-size:10.5px}.name.chosen{font-weight:600}"
)


@dataclass(frozen=True)
class Point:
    """Labeled dot; ``chosen`` is highlighted."""

    x: float
    y: float
    name: str
    chosen: bool


@dataclass(frozen=True)
class Panel:
    """One chart: x on a logarithmic scale, y from zero."""

    title: str
    x_name: str
    y_name: str
    points: Sequence[Point]


def scatter(panels: Sequence[Panel]) -> str:
    """SVG document with the panels side by side."""
    body = "".join(f'<g transform="translate({n * WIDTH},0)">{_panel(panel)}</g>' for n, panel in enumerate(panels))
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'
    )


def _panel(panel: Panel) -> str:
    low = math.log2(min(p.x for p in panel.points)) - 0.3
    high = math.log2(max(p.x for p in panel.points)) + 0.3
    top = 1.1 * max(p.y for p in panel.points)
    right, bottom = WIDTH - 16, HEIGHT - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log2(x) - low) / (high - low)
        return LEFT + share * (right - LEFT), bottom - y / top * (bottom - TOP)

    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(panel.title)}</text>']
    for k in range(math.ceil(low), math.floor(high) + 1):
        x = at(2.0**k, 0)[0]
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{2**k}</text>')
    step = 10 ** math.floor(math.log10(top)) / (1 if top / 10 ** math.floor(math.log10(top)) > 4 else 4)
    for k in range(int(top / step) + 1):
        y = at(2.0**low, k * step)[1]
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{k * step:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}" fill="none"/>')
    parts.append(f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">{escape(panel.x_name)}</text>')
    parts.append(f'<text x="{right}" y="20" text-anchor="end">{escape(panel.y_name)}</text>')
    return "".join(parts) + _dots(panel.points, at, right)


def _dots(points: Sequence[Point], at: Callable[[float, float], tuple[float, float]], right: float) -> str:
    """Dots and their labels; a label that would cover another is moved down."""
    parts, taken = [], []
    for point in sorted(points, key=lambda p: -p.y):
        x, y = at(point.x, point.y)
        width = 5.6 * len(point.name)
        left = x + 7 if x + 7 + width < right else x - 7 - width
        row = y + 4
        while any(abs(row - r) < 11 and left < b and a < left + width for a, b, r in taken):
            row += 3
        taken.append((left, left + width, row))
        kind = " chosen" if point.chosen else ""
        parts.append(f'<circle class="dot{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(f'<text class="name{kind}" x="{left:.1f}" y="{row:.1f}">{escape(point.name)}</text>')
    return "".join(parts)
