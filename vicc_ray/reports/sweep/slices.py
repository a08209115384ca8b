"""R@1 against one setting at a time, and against training time with the Pareto front."""

from __future__ import annotations

from vicc_ray.reports.formats import percent_fixed
from vicc_ray.reports.svg.axes import Axis, linear_axis, score_axis, setting_axis
from vicc_ray.reports.svg.line_chart import Chart, Curve
from vicc_ray.reports.svg.scatter import Dot, Position
from vicc_ray.reports.sweep.trial_style import (
    by_drawing_order,
    interval,
    names,
    score,
    scored,
    scores_and_ends,
    state_legend,
    style,
    title,
)
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.sweep.trial import Trial

JITTER_WIDTH = 0.6
"""Share of a choice's width over which its trials are spread, so that they do not cover each other."""


def slice_chart(summary: SweepSummary, key: str) -> Chart:
    """All trials with a value of the setting; failed ones without a score are at the bottom."""
    trials = [trial for trial in by_drawing_order(summary) if trial.values.get(key) is not None]
    x = setting_axis([trial.values[key] for trial in trials])
    y = score_axis(scores_and_ends(summary.trials))
    places = _places(trials, key, x)
    shown = [trial for trial in trials if score(trial) is not None or trial.state == "failed"]
    curves, dots = _marks(summary, shown, places, y)
    return Chart(
        summary=f"R@1 against {names(summary)[key]} in {len(dots)} trials.", x=x, y=y, curves=curves, dots=dots
    )


def cost_chart(summary: SweepSummary) -> Chart:
    """R@1 against minutes of training; the Pareto front joins complete trials that no other beats in both."""
    x = linear_axis(0.0, max((minutes(trial) for trial in summary.trials), default=1.0) or 1.0, margin=0.04)
    y = score_axis(scores_and_ends(summary.trials))
    shown = [trial for trial in by_drawing_order(summary) if score(trial) is not None]
    curves, dots = _marks(summary, shown, {trial.number: x.place(minutes(trial)) for trial in shown}, y)
    front = pareto_front(summary)
    steps: list[Position] = []
    for trial, value in front:
        at = x.place(minutes(trial))
        steps += [(at, steps[-1][1])] if steps else []
        steps.append((at, y.place(value)))
    front_text = (
        ", ".join(f"{percent_fixed(value)} in {minutes(trial):.1f} min" for trial, value in front)
        or "no trial is complete"
    )
    return Chart(
        summary=f"R@1 against minutes of training in {len(dots)} trials. Pareto front: {front_text}.",
        x=x,
        y=y,
        curves=[*curves, *([Curve(steps, "line front")] if len(front) > 1 else [])],
        dots=dots,
        legend=state_legend(summary, shown) + ([("front", "Pareto front")] if len(front) > 1 else []),
        x_name="minutes of stage 2",
    )


def pareto_front(summary: SweepSummary) -> list[tuple[Trial, float]]:
    """Complete trials that have a higher R@1 than all cheaper ones, cheapest first, each with its R@1."""
    front: list[tuple[Trial, float]] = []
    complete = [pair for pair in scored(summary.trials) if pair[0].state == "complete"]
    for trial, value in sorted(complete, key=lambda pair: (pair[0].cost.seconds, -pair[1], pair[0].number)):
        if not front or value > front[-1][1]:
            front.append((trial, value))
    return front


def minutes(trial: Trial) -> float:
    """Minutes of training, without the shared stage 1."""
    return trial.cost.seconds / 60


def _marks(
    summary: SweepSummary, trials: list[Trial], places: dict[int, float], y: Axis
) -> tuple[list[Curve], list[Dot]]:
    curves, dots = [], []
    for trial in trials:
        at, value, ends = places[trial.number], score(trial), interval(trial)
        css = style(trial, summary)
        if ends:
            curves.append(Curve([(at, y.place(ends[0])), (at, y.place(ends[1]))], f"whisker {css}", trial.number))
        dots.append(Dot((at, 0.0 if value is None else y.place(value)), css, trial.number, title(trial)))
    return curves, dots


def _places(trials: list[Trial], key: str, x: Axis) -> dict[int, float]:
    """Horizontal position by trial; trials with the same choice are side by side, in order."""
    groups: dict[float, list[int]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        groups.setdefault(x.place(trial.values[key]), []).append(trial.number)
    if not x.choices:
        return {number: at for at, numbers in groups.items() for number in numbers}
    return {
        number: at + ((index + 0.5) / len(numbers) - 0.5) * JITTER_WIDTH / x.choices
        for at, numbers in groups.items()
        for index, number in enumerate(numbers)
    }
