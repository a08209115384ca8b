"""What the test videos say of the setting that was found: words and a chart."""

from __future__ import annotations

from dataclasses import dataclass

from vicc_ray.reports.run.summary import points
from vicc_ray.reports.svg.axes import Axis, percent_axis
from vicc_ray.reports.svg.line_chart import Chart, Curve
from vicc_ray.reports.svg.scatter import Dot
from vicc_ray.reports.sweep.trial_style import percent
from vicc_ray.sweep.results import BEST, DEFAULT, Judged, Summary

NAMES = {BEST: "best setting", DEFAULT: "recipe's own"}


@dataclass(frozen=True)
class Verdict:
    """``kind``: "better", "same", "worse" or "open"."""

    kind: str
    title: str
    text: str


def verdict(summary: Summary) -> Verdict:
    """Better means: by more than both standard deviations over the seeds together."""
    runs = {run.setting: run for run in summary.judged}
    best, default = runs.get(BEST), runs.get(DEFAULT)
    if default is None and best is None:
        return _not_yet(summary)
    if best is None or default is None:
        return Verdict(
            "open",
            "Nothing better than the recipe's own setting was found" if best is None else "Only the best was judged",
            "The best trial has the recipe's own setting, so there is nothing to compare it with." if best is None
            else "There is no run of the recipe's own setting to compare with.",
        )  # fmt: skip
    difference, spread = best.mean - default.mean, best.deviation + default.deviation
    gain = f"{points(difference)} points of R@1 on the test videos"
    if min(len(best.recall_at_1), len(default.recall_at_1)) < 2:
        return Verdict("open", gain, "One seed each: there is no spread to tell a difference from chance by.")
    beyond = f"the two standard deviations over the seeds together are {100 * spread:.1f}"
    if difference > spread:
        return Verdict("better", f"Better than the recipe's own setting: {gain}", f"That is clear: {beyond}.")
    if -difference > spread:
        return Verdict("worse", f"Worse than the recipe's own setting: {gain}", f"That is clear: {beyond}.")
    return Verdict("same", "Not clearly better than the recipe's own setting", f"{gain}, within the spread: {beyond}.")


def judged_chart(judged: list[Judged]) -> Chart:
    """A row for each setting: every seed a dot, the mean a line, one standard deviation around it a band."""
    scores = [score for run in judged for score in run.recall_at_1]
    ends = [end for run in judged for end in (run.mean - run.deviation, run.mean + run.deviation)]
    low, high = min(scores + ends), max(scores + ends)
    x = percent_axis(low, max(high, low + 0.01))
    rows = [(index + 0.5) / len(judged) for index in range(len(judged))][::-1]
    curves, dots = [], []
    for run, at in zip(judged, rows, strict=True):
        half, look = 0.34 / len(judged), run.setting
        left, right = x.place(run.mean - run.deviation), x.place(run.mean + run.deviation)
        if run.deviation:
            corners = [(left, at - half), (right, at - half), (right, at + half), (left, at + half)]
            curves.append(Curve(corners, f"area {look}"))
        curves.append(Curve([(x.place(run.mean), at - half), (x.place(run.mean), at + half)], f"mean {look}"))
        dots += _seeds(run, x, at, half)
    told = "; ".join(f"{NAMES.get(run.setting, run.setting)}: {', '.join(in_words(run))}" for run in judged)
    names = [(at, NAMES.get(run.setting, run.setting)) for run, at in zip(judged, rows, strict=True)]
    return Chart(f"R@1 on the test videos: {told}.", x, Axis(lambda row: rows[row], names), curves, dots,
                style="judged", vertical_grid=True)  # fmt: skip


def in_words(run: Judged) -> tuple[str, str]:
    """ "43.1 % ± 1.2" and "3 seeds"."""
    count = len(run.recall_at_1)
    spread = f" ± {100 * run.deviation:.1f}" if count > 1 else ""
    return f"{percent(run.mean)}{spread}", f"{count} seed{'s' if count > 1 else ''}"


def _seeds(run: Judged, x: Axis, at: float, half: float) -> list[Dot]:
    count = len(run.recall_at_1)
    return [
        Dot((x.place(score), at + half * (0.5 - (index + 0.5) / count)), f"seed {run.setting}",
            title=f"{NAMES.get(run.setting, run.setting)}, seed {index + 1} of {count}: {percent(score)}")
        for index, score in enumerate(run.recall_at_1)
    ]  # fmt: skip


def _not_yet(summary: Summary) -> Verdict:
    if summary.best is None:
        return Verdict("open", "Nothing to judge", "No trial is complete.")
    return Verdict(
        "open",
        "Not judged on the test videos",
        "The best setting and the recipe's own are trained with fresh seeds on all training videos once all trials "
        "have ended, unless final_eval.num_seeds is 0.",
    )
