"""Axes of a chart: where a value lies, as a fraction of the plot's width or height, and the tick labels.

Both pages draw with these, so that a share, a count or a searched setting is labeled the same way everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vicc_ray.config.yaml import short_value

LOG_RATIO = 5.0
"""Largest over smallest value from which an axis is logarithmic. Below a decade, since draws rarely reach both ends."""
MAX_CHOICE_NUMBERS = 6
"""Numbers that several trials share are placed side by side, as choices, up to this many distinct values."""
MAX_CHOICE_LABELS = 10
"""With more choices than this, only every n-th one is labeled."""
MAX_LOG_TICKS = 6
TICKS = 6
MARGIN = 0.05
SINGLE_SCORE_MARGIN = 0.05
"""R@1 shown below and above a score that is the only one."""


@dataclass(frozen=True)
class Axis:
    """Maps a value to a fraction of the axis, 0 to 1 (``place``), and lists tick labels as (fraction, text).

    ``choices``: how many values are placed side by side; 0 on a numeric axis.
    """

    place: Callable[[Any], float]
    ticks: Sequence[tuple[float, str]]
    choices: int = 0
    log: bool = False


def setting_axis(values: Sequence[Any]) -> Axis:
    """The axis that suits a setting's values (None where a trial lacks it): logarithmic, linear or choices."""
    known = [value for value in values if value is not None]
    if not all(map(is_number, known)):
        return choice_axis(known)
    distinct = set(known)
    shared = len(distinct) < len(known) or all(isinstance(value, int) for value in known)
    if len(distinct) < 2 or (shared and len(distinct) <= MAX_CHOICE_NUMBERS):
        return choice_axis(known)
    low, high = min(distinct), max(distinct)
    integers = all(isinstance(value, int) for value in known)
    return log_axis(low, high) if low > 0 and high / low >= LOG_RATIO else linear_axis(low, high, integers)


def linear_axis(low: float, high: float, integers: bool = False, margin: float = MARGIN, scale: float = 1.0) -> Axis:
    """From ``low`` to ``high`` with a margin at both ends.

    Args:
        integers: ticks at whole numbers only.
        scale: factor between a value and the number on its tick label: 100 for percent.
    """
    low, high = scale * low, scale * high
    span = (high - low) or 1.0
    low, span = low - margin * span, span * (1 + 2 * margin)
    ticks = [tick for tick in nice_ticks(low, low + span, TICKS) if low <= tick <= low + span]
    ticks = [tick for tick in ticks if not integers or tick == int(tick)]
    return Axis(lambda value: (scale * value - low) / span, [((tick - low) / span, _number(tick)) for tick in ticks])


def log_axis(low: float, high: float) -> Axis:
    """Equal factors are equally far apart. Both ends must be above 0."""
    span = math.log(high / low)
    start, width = math.log(low) - MARGIN * span, span * (1 + 2 * MARGIN)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[tuple[float, str]] = []
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        levels = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
        fractions = {level: (math.log(level) - start) / width for level in levels}
        ticks = [(fraction, f"{level:g}") for level, fraction in fractions.items() if 0 <= fraction <= 1]
        if len(ticks) <= MAX_LOG_TICKS:
            break
    return Axis(lambda value: (math.log(value) - start) / width, ticks, log=True)


def choice_axis(values: Sequence[Any]) -> Axis:
    """Values side by side: numbers first, in ascending order, then the others by their text."""
    ordered = sorted(
        values, key=lambda value: (not is_number(value), value if is_number(value) else 0, short_value(value))
    )
    names = list(dict.fromkeys(map(short_value, ordered)))
    fractions = {name: (index + 0.5) / len(names) for index, name in enumerate(names)}
    every = math.ceil(len(names) / MAX_CHOICE_LABELS)
    ticks = [(fractions[name], name) for name in names[::every]] if names else []
    return Axis(lambda value: fractions[short_value(value)], ticks, choices=max(1, len(names)))


def round_axis(values: Sequence[float], as_percent: bool = False, ticks: int = TICKS) -> Axis:
    """An axis that begins and ends at a round number and holds all ``values``."""
    levels = nice_ticks(min(values, default=0.0), max(values, default=1.0), ticks)
    low, span = levels[0], levels[-1] - levels[0]
    texts = [f"{100 * level:.4g}\u00a0%" if as_percent else f"{level:g}" for level in levels]
    return Axis(
        lambda value: (value - low) / span,
        [((level - low) / span, text) for level, text in zip(levels, texts, strict=True)],
    )


def score_axis(scores: Sequence[float]) -> Axis:
    """R@1 in percent; a single score gets some room on both sides."""
    if scores and min(scores) == max(scores):
        return round_axis([scores[0] - SINGLE_SCORE_MARGIN, scores[0] + SINGLE_SCORE_MARGIN], as_percent=True, ticks=3)
    return round_axis(scores, as_percent=True)


def percent_axis(low: float, high: float) -> Axis:
    """Shares in percent with a margin at both ends."""
    axis = linear_axis(low, high, margin=0.08, scale=100.0)
    return Axis(axis.place, [(fraction, f"{text}\u00a0%") for fraction, text in axis.ticks])


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers (1, 2, 2.5, 5 times a power of ten) that span ``low`` to ``high``, ascending."""
    rough = ((high - low) or abs(high) or 1.0) / (count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def is_number(value: object) -> bool:
    """Whether a value can be placed on a numeric axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
