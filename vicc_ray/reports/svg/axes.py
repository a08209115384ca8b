"""Axes: where a value lies between the two ends of a chart, and what is written beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vicc_ray.reports.svg.line_chart import nice_ticks
from vicc_ray.sweep.live_table import short

LOG_FROM = 5.0
"""Largest over smallest from which an axis is logarithmic: draws of a decade need not reach its ends."""
FEW = 6
"""Up to so many values that trials share stand side by side, whatever lies between them."""
LABELS = 10
"""Choices beyond this have some of their labels left out."""
TICKS = 6
MARGIN = 0.05
ALONE = 0.05
"""R@1 around the only one that there is."""


@dataclass(frozen=True)
class Axis:
    """``place``: a value's share of the axis, 0 to 1; ``ticks``: (share, text); ``choices``: places side by side."""

    place: Callable[[Any], float]
    ticks: Sequence[tuple[float, str]]
    choices: int = 0
    log: bool = False


def axis_of(values: Sequence[Any]) -> Axis:
    """The axis that suits a setting's values (None where a trial has none): logarithmic, linear or choices."""
    known = [value for value in values if value is not None]
    if not all(map(is_number, known)):
        return choice_axis(known)
    distinct = set(known)
    shared = len(distinct) < len(known) or all(isinstance(value, int) for value in known)
    if len(distinct) < 2 or (shared and len(distinct) <= FEW):
        return choice_axis(known)
    low, high = min(distinct), max(distinct)
    whole = all(isinstance(value, int) for value in known)
    return log_axis(low, high) if low > 0 and high / low >= LOG_FROM else linear_axis(low, high, whole)


def linear_axis(low: float, high: float, whole: bool = False, margin: float = MARGIN) -> Axis:
    """From ``low`` to ``high``, with a margin at both ends; ``whole``: ticks at whole numbers only."""
    span = (high - low) or 1.0
    low, span = low - margin * span, span * (1 + 2 * margin)
    ticks = [tick for tick in nice_ticks(low, low + span, 6) if low <= tick <= low + span]
    ticks = [tick for tick in ticks if not whole or tick == int(tick)]
    return Axis(lambda value: (value - low) / span, [((tick - low) / span, f"{tick:g}") for tick in ticks])


def log_axis(low: float, high: float) -> Axis:
    """Equal factors are equally far apart; both ends are above 0."""
    span = math.log(high / low)
    start, width = math.log(low) - MARGIN * span, span * (1 + 2 * MARGIN)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[tuple[float, str]] = []
    for marks in ((1, 2, 5), (1, 3), (1,)):
        levels = [mark * 10.0**power for power in powers for mark in marks]
        places = {level: (math.log(level) - start) / width for level in levels}
        ticks = [(share, f"{level:g}") for level, share in places.items() if 0 <= share <= 1]
        if len(ticks) <= TICKS:
            break
    return Axis(lambda value: (math.log(value) - start) / width, ticks, log=True)


def choice_axis(values: Sequence[Any]) -> Axis:
    """Values side by side: numbers first, in their order, then the others by their text."""
    ordered = sorted(values, key=lambda value: (not is_number(value), value if is_number(value) else 0, short(value)))
    names = list(dict.fromkeys(map(short, ordered)))
    places = {name: (index + 0.5) / len(names) for index, name in enumerate(names)}
    every = math.ceil(len(names) / LABELS)
    ticks = [(places[name], name) for name in names[::every]] if names else []
    return Axis(lambda value: places[short(value)], ticks, choices=max(1, len(names)))


def score_axis(scores: Sequence[float]) -> Axis:
    """R@1 in per cent, between round numbers around all ``scores``."""
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    ticks = nice_ticks(low, high, 6) if high > low else nice_ticks(low - ALONE, high + ALONE, 3)
    low, span = ticks[0], ticks[-1] - ticks[0]
    return Axis(
        lambda value: (value - low) / span, [((tick - low) / span, f"{100 * tick:.4g}\u00a0%") for tick in ticks]
    )


def share_axis(low: float, high: float) -> Axis:
    """Shares in per cent, with a margin at both ends."""
    axis = linear_axis(100 * low, 100 * high, margin=0.08)
    return Axis(lambda value: axis.place(100 * value), [(at, f"{text}\u00a0%") for at, text in axis.ticks])


def is_number(value: object) -> bool:
    """Whether it has a place on a line."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
