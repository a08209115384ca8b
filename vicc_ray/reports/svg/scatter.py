"""Points of a chart, as HTML elements over its SVG: they stay round when the SVG is stretched to the page's width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

Position = tuple[float, float]
"""Fractions of the plot's width and, from the bottom, of its height."""


@dataclass(frozen=True)
class Dot:
    """A point; ``style``: CSS classes; ``trial``: number of the trial that it stands for; ``title``: its tooltip."""

    at: Position
    style: str
    trial: int | None = None
    title: str = ""


def draw_dots(dots: Sequence[Dot]) -> Markup:
    """The points as HTML."""
    return Markup("").join(
        Markup('<i class="point {}"{} style="left:{:.2f}%;bottom:{:.2f}%" title="{}"></i>').format(
            dot.style, trial_attribute(dot.trial), 100 * dot.at[0], 100 * dot.at[1], dot.title
        )
        for dot in dots
    )


def trial_attribute(trial: int | None) -> Markup:
    """The attribute by which the page's script finds all marks of one trial."""
    return Markup("") if trial is None else Markup(' data-trial="{}"').format(trial)
