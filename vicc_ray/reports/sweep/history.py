"""The optimization history: R@1 by trial with the best so far, and the learning curve of each trial."""

from __future__ import annotations

from vicc_ray.reports.formats import percent_fixed
from vicc_ray.reports.svg.axes import Axis, choice_axis, linear_axis, score_axis
from vicc_ray.reports.svg.line_chart import Chart, Curve
from vicc_ray.reports.svg.scatter import Dot, Position
from vicc_ray.reports.sweep.trial_style import (
    by_drawing_order,
    curve,
    is_best,
    score,
    scored,
    state_legend,
    style,
    title,
)
from vicc_ray.sweep.results import SweepSummary


def progress_chart(summary: SweepSummary) -> Chart:
    """R@1 by trial number; the line is the best complete trial so far."""
    x, y = _numbers(summary), score_axis([value for _, value in scored(summary.trials)])
    line = _best_so_far(summary, x, y)
    rises = len({height for _, height in line})
    best_text = (
        f"{rises - 1} improvements, up to {percent_fixed(score(summary.best))}"
        if summary.best
        else "no trial is complete"
    )
    dots = []
    for trial in by_drawing_order(summary):
        value = score(trial)
        if value is not None or trial.state == "failed":
            dots.append(
                Dot((x.place(trial.number), y.place(value) if value is not None else 0.0),
                    style(trial, summary), trial.number, title(trial))
            )  # fmt: skip
    return Chart(
        summary=f"R@1 of {len(dots)} trials in order, and the best so far: {best_text}.",
        x=x,
        y=y,
        curves=[Curve(line, "line best step")] if line else [],
        dots=dots,
        legend=state_legend(summary, summary.trials) + ([("best", "best so far")] if line else []),
        x_name="trial",
    )


def learning_chart(summary: SweepSummary) -> Chart:
    """R@1 by epoch of stage 2; the best trial with its interval."""
    scores = [score for trial in summary.trials for score in curve(trial)]
    ends = [end for s in (curve(summary.best) if summary.best else []) for end in (s.low, s.high)]
    last = max((score.epoch for score in scores), default=0)
    x = linear_axis(0, max(last, 1), integers=True, margin=0.0)
    y = score_axis([score.recall_at_1 for score in scores] + ends)
    curves, dots = [], []
    for trial in by_drawing_order(summary):
        points = [(x.place(s.epoch), y.place(s.recall_at_1)) for s in curve(trial)]
        if not points:
            continue
        css = style(trial, summary)
        if is_best(trial, summary):
            high = [(x.place(s.epoch), y.place(s.high)) for s in curve(trial)]
            low = [(x.place(s.epoch), y.place(s.low)) for s in reversed(curve(trial))]
            curves.append(Curve([*high, *low], "area best"))
        curves.append(Curve(points, f"line curve {css}", trial.number))
        dots.append(Dot(points[-1], f"{css} small", trial.number, title(trial)))
    keys = state_legend(summary, [trial for trial in summary.trials if curve(trial)], "curve")
    band = [("band best", "its 95 % interval")] if summary.best else []
    return Chart(
        summary=f"R@1 on the validation videos by epoch of stage 2, for {len(dots)} trials.",
        x=x,
        y=y,
        curves=curves,
        dots=dots,
        legend=[*keys[:1], *band, *keys[1:]],
        x_name="epoch of stage 2",
    )


def _numbers(summary: SweepSummary) -> Axis:
    last = max([summary.total - 1, *(trial.number for trial in summary.trials)])
    return linear_axis(0, last, integers=True, margin=0.03) if last else choice_axis([0])


def _best_so_far(summary: SweepSummary, x: Axis, y: Axis) -> list[Position]:
    """A step at each complete trial that is better than all before it, extended to the last trial."""
    points: list[Position] = []
    complete = [(trial, value) for trial, value in scored(summary.trials) if trial.state == "complete"]
    best: float | None = None
    for trial, value in sorted(complete, key=lambda pair: pair[0].number):
        if best is None or value > best:
            at = x.place(trial.number)
            points += ([] if best is None else [(at, y.place(best))]) + [(at, y.place(value))]
            best = value
    if best is not None:
        points.append((x.place(max(trial.number for trial in summary.trials)), y.place(best)))
    return points
