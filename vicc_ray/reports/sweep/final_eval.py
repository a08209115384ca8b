"""The final evaluation on the test videos: a verdict in words, and a chart."""

from __future__ import annotations

from dataclasses import dataclass

from vicc_ray.reports.formats import percent_fixed, points
from vicc_ray.reports.svg.axes import Axis, percent_axis
from vicc_ray.reports.svg.line_chart import Chart, Curve
from vicc_ray.reports.svg.scatter import Dot
from vicc_ray.sweep.results import BEST, DEFAULT, FinalEval, SweepSummary

NAMES = {BEST: "best setting", DEFAULT: "default"}


@dataclass(frozen=True)
class Verdict:
    """Whether the best setting beats the default; ``kind``: "better", "same", "worse" or "open"."""

    kind: str
    title: str
    text: str


def verdict(summary: SweepSummary) -> Verdict:
    """Better means: by more than the sum of the two standard deviations over the seeds."""
    runs = {run.setting: run for run in summary.final_eval}
    best, default = runs.get(BEST), runs.get(DEFAULT)
    if default is None and best is None:
        return _not_yet(summary)
    if best is None or default is None:
        return Verdict(
            "open",
            "No setting was better than the default" if best is None else "Only the best setting was evaluated",
            "The best trial has the recipe's default setting, so there is nothing to compare it with." if best is None
            else "There is no run of the default setting to compare with.",
        )  # fmt: skip
    difference, spread = best.mean - default.mean, best.deviation + default.deviation
    gain = f"{points(difference)} points of R@1 on the test videos"
    if min(len(best.recall_at_1), len(default.recall_at_1)) < 2:
        return Verdict("open", gain, "One seed each: without a standard deviation, the difference may be chance.")
    deviations = f"the two standard deviations over the seeds add up to {100 * spread:.1f} points"
    if difference > spread:
        return Verdict("better", f"Better than the default: {gain}", f"A clear difference: {deviations}.")
    if -difference > spread:
        return Verdict("worse", f"Worse than the default: {gain}", f"A clear difference: {deviations}.")
    return Verdict("same", "Not clearly better than the default", f"{gain}, within the spread: {deviations}.")


def final_eval_chart(final_eval: list[FinalEval]) -> Chart:
    """A row per setting: a dot for each seed, a line for their mean, a band of one standard deviation."""
    scores = [score for run in final_eval for score in run.recall_at_1]
    ends = [end for run in final_eval for end in (run.mean - run.deviation, run.mean + run.deviation)]
    low, high = min(scores + ends), max(scores + ends)
    x = percent_axis(low, max(high, low + 0.01))
    rows = [(index + 0.5) / len(final_eval) for index in range(len(final_eval))][::-1]
    curves, dots = [], []
    for run, at in zip(final_eval, rows, strict=True):
        half, style = 0.34 / len(final_eval), run.setting
        left, right = x.place(run.mean - run.deviation), x.place(run.mean + run.deviation)
        if run.deviation:
            corners = [(left, at - half), (right, at - half), (right, at + half), (left, at + half)]
            curves.append(Curve(corners, f"area {style}"))
        curves.append(Curve([(x.place(run.mean), at - half), (x.place(run.mean), at + half)], f"mean {style}"))
        dots += _seeds(run, x, at, half)
    scores_text = "; ".join(f"{NAMES.get(run.setting, run.setting)}: {', '.join(in_words(run))}" for run in final_eval)
    names = [(at, NAMES.get(run.setting, run.setting)) for run, at in zip(final_eval, rows, strict=True)]
    return Chart(f"R@1 on the test videos: {scores_text}.", x, Axis(lambda row: rows[row], names), curves, dots,
                style="final-eval", vertical_grid=True)  # fmt: skip


def in_words(run: FinalEval) -> tuple[str, str]:
    """ "43.1 % ± 1.2" and "3 seeds"."""
    count = len(run.recall_at_1)
    spread = f" ± {100 * run.deviation:.1f}" if count > 1 else ""
    return f"{percent_fixed(run.mean)}{spread}", f"{count} seed{'s' if count > 1 else ''}"


def _seeds(run: FinalEval, x: Axis, at: float, half: float) -> list[Dot]:
    count = len(run.recall_at_1)
    return [
        Dot((x.place(score), at + half * (0.5 - (index + 0.5) / count)), f"seed {run.setting}",
            title=f"{NAMES.get(run.setting, run.setting)}, seed {index + 1} of {count}: {percent_fixed(score)}")
        for index, score in enumerate(run.recall_at_1)
    ]  # fmt: skip


def _not_yet(summary: SweepSummary) -> Verdict:
    if summary.best is None:
        return Verdict("open", "Nothing to evaluate", "No trial is complete.")
    return Verdict(
        "open",
        "Not evaluated on the test videos",
        "Once all trials have ended, the best setting and the default are trained with new seeds on all training "
        "videos, unless final.seeds is 0.",
    )
