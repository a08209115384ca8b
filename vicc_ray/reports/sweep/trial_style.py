"""What every chart of a sweep says of a trial in the same way: its score, its colour, its words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vicc_ray.sweep.results import Summary
from vicc_ray.sweep.trial import Score, State, Trial

WORDS: dict[State, str] = {
    "complete": "complete",
    "pruned": "ended early",
    "failed": "failed",
    "running": "running",
}


def score(trial: Trial) -> float | None:
    """Its last R@1; None where there is none, or none that is a number."""
    value = trial.recall_at_1
    return value if value is not None and math.isfinite(value) else None


def interval(trial: Trial) -> tuple[float, float] | None:
    """95 % interval of :func:`score`."""
    found = trial.interval
    return found if score(trial) is not None and found and all(map(math.isfinite, found)) else None


def percent(share: float | None) -> str:
    """In per cent, always with one decimal, so that columns are even; a dash for what is unknown."""
    return "–" if share is None else f"{100 * share:.1f}\u00a0%"


def curve(trial: Trial) -> list[Score]:
    """Its scores by epoch, as far as they are numbers."""
    return [s for s in trial.curve if all(map(math.isfinite, (s.recall_at_1, s.low, s.high)))]


def scored(trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """The trials that have a score, each with it."""
    return [(trial, value) for trial in trials if (value := score(trial)) is not None]


def scores_and_ends(trials: Sequence[Trial]) -> list[float]:
    """All scores and the ends of their intervals: what an axis has to hold."""
    return [value for _, value in scored(trials)] + [end for trial in trials for end in interval(trial) or ()]


def is_best(trial: Trial, summary: Summary) -> bool:
    """Whether it is the one that was found."""
    return summary.best is not None and trial.number == summary.best.number


def style(trial: Trial, summary: Summary) -> str:
    """CSS classes: its state, and whether it is the best."""
    return f"{trial.state} best" if is_best(trial, summary) else trial.state


def title(trial: Trial) -> str:
    """ "trial 7, ended early: 43.1 %"."""
    return f"trial {trial.number}, {WORDS[trial.state]}: {percent(score(trial))}"


def best_last(summary: Summary) -> list[Trial]:
    """In the order of drawing: what matters most lies on top."""
    order = {"failed": 0, "pruned": 1, "running": 2, "complete": 3}
    return sorted(summary.trials, key=lambda trial: (is_best(trial, summary), order[trial.state], trial.number))


def state_legend(summary: Summary, trials: Sequence[Trial], mark: str = "spot") -> list[tuple[str, str]]:
    """(CSS classes, text) of the states that ``trials`` have."""
    states = {trial.state for trial in trials}
    best = [(f"{mark} complete best", "the best")] if any(is_best(trial, summary) for trial in trials) else []
    return best + [(f"{mark} {state}", text) for state, text in WORDS.items() if state in states]


def names(summary: Summary) -> dict[str, str]:
    """Short names of the searched settings: without their section, where no two are alike."""
    last = [key.rpartition(".")[2] for key in summary.searched]
    return {key: name if last.count(name) == 1 else key for key, name in zip(summary.searched, last, strict=True)}
