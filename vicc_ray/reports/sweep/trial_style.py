"""How all charts and the table show a trial: its score, its style, its words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vicc_ray.reports.formats import percent_fixed
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.sweep.trial import Score, State, Trial

WORDS: dict[State, str] = {
    "complete": "complete",
    "pruned": "pruned",
    "failed": "failed",
    "running": "running",
}


def score(trial: Trial) -> float | None:
    """Its last R@1; None if there is none or it is not finite."""
    value = trial.recall_at_1
    return value if value is not None and math.isfinite(value) else None


def interval(trial: Trial) -> tuple[float, float] | None:
    """95 % interval of :func:`score`."""
    ends = trial.interval
    return ends if score(trial) is not None and ends and all(map(math.isfinite, ends)) else None


def curve(trial: Trial) -> list[Score]:
    """Its finite scores by epoch."""
    return [s for s in trial.curve if all(map(math.isfinite, (s.recall_at_1, s.low, s.high)))]


def scored(trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """The trials that have a score, with their scores."""
    return [(trial, value) for trial in trials if (value := score(trial)) is not None]


def scores_and_ends(trials: Sequence[Trial]) -> list[float]:
    """All scores and the ends of their intervals: the values that an axis must hold."""
    return [value for _, value in scored(trials)] + [end for trial in trials for end in interval(trial) or ()]


def is_best(trial: Trial, summary: SweepSummary) -> bool:
    """Whether it is the best trial."""
    return summary.best is not None and trial.number == summary.best.number


def style(trial: Trial, summary: SweepSummary) -> str:
    """CSS classes: its state, and "best" for the best trial."""
    return f"{trial.state} best" if is_best(trial, summary) else trial.state


def title(trial: Trial) -> str:
    """ "trial 7, pruned: 43.1 %"."""
    return f"trial {trial.number}, {WORDS[trial.state]}: {percent_fixed(score(trial))}"


def by_drawing_order(summary: SweepSummary) -> list[Trial]:
    """All trials, least important first, so that the best is drawn on top."""
    order = {"failed": 0, "pruned": 1, "running": 2, "complete": 3}
    return sorted(summary.trials, key=lambda trial: (is_best(trial, summary), order[trial.state], trial.number))


def state_legend(summary: SweepSummary, trials: Sequence[Trial], mark: str = "spot") -> list[tuple[str, str]]:
    """Legend entries (CSS classes, text) for the states that occur among ``trials``."""
    states = {trial.state for trial in trials}
    best = [(f"{mark} complete best", "the best")] if any(is_best(trial, summary) for trial in trials) else []
    return best + [(f"{mark} {state}", text) for state, text in WORDS.items() if state in states]


def names(summary: SweepSummary) -> dict[str, str]:
    """Short names of the searched settings: without the section if that is unambiguous."""
    last = [key.rpartition(".")[2] for key in summary.searched]
    return {key: name if last.count(name) == 1 else key for key, name in zip(summary.searched, last, strict=True)}
