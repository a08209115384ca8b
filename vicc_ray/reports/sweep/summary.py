"""The head of the page: the best result, the search space, the cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vicc_ray.config.yaml import short_value
from vicc_ray.reports.formats import percent_fixed, points
from vicc_ray.reports.sweep.trial_style import WORDS, interval, is_best, names, score
from vicc_ray.sweep.results import BEST, DEFAULT, SweepSummary
from vicc_ray.sweep.trial import Trial
from vicc_ray.utils.progress_bar import duration


@dataclass(frozen=True)
class Tile:
    """A number with its label and a note."""

    label: str
    value: str
    note: str
    best: bool = False


@dataclass(frozen=True)
class PruningSavings:
    """Training that pruning saved less than with all trials at full length."""

    epochs: float
    seconds: float
    share: float
    """Share of the epochs, of those saved and spent together."""


def headline(summary: SweepSummary) -> str:
    """The main result."""
    trials = summary.trials
    if summary.best:
        best = f"{percent_fixed(score(summary.best))} R@1"
        return f"{best} in the best of {len(trials)} trials" if len(trials) > 1 else f"{best} in the only trial"
    if not trials:
        return "No trial has started yet"
    if all(trial.state == "failed" for trial in trials):
        return "The only trial failed" if len(trials) == 1 else f"All {len(trials)} trials failed"
    return "No trial is complete yet" if _is_running(summary) else "No trial is complete"


def lead(summary: SweepSummary) -> str:
    """The search space, and how the trials ended."""
    short_names = list(names(summary).values())
    searched = " and ".join(filter(None, [", ".join(short_names[:-1]), short_names[-1] if short_names else ""]))
    counts = Counter(trial.state for trial in summary.trials)
    states = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    tried = (
        f"{_count(len(summary.trials), 'trial')} of {summary.total}"
        if _is_running(summary)
        else _count(len(summary.trials), "trial")
    )
    return (
        f"Search space: {searched} of the recipe {summary.recipe}. {tried}{': ' if states else ''}{states}. R@1 is the "
        "share of validation videos whose nearest neighbor shows the same class."
    )


def overlapping_trials(summary: SweepSummary) -> tuple[int, int] | None:
    """How many other complete trials lie within the best trial's interval, and of how many; None without a best."""
    ends = interval(summary.best) if summary.best else None
    if not ends:
        return None
    others = [trial for trial in summary.trials if trial.state == "complete" and not is_best(trial, summary)]
    return sum((score(trial) or 0.0) >= ends[0] for trial in others), len(others)


def overlap_note(summary: SweepSummary) -> str:
    """:func:`overlapping_trials` in a sentence; "" without other complete trials."""
    overlapping, others = overlapping_trials(summary) or (0, 0)
    if not others:
        return ""
    if not overlapping:
        return "No other complete trial lies within the best trial's interval."
    which = f"All {others}" if overlapping == others > 1 else f"{overlapping} of the {others}"
    advice = "; see the evaluation on the test videos below." if summary.final_eval else "."
    return (
        f"{which} other complete trials lie within the best trial's interval. The highest of many scores on the same "
        f"videos is biased upward{advice}"
    )


def setting(summary: SweepSummary, trial: Trial) -> list[tuple[str, str, str]]:
    """(key, short name, value) of a trial's searched settings, in the order of the search space."""
    return [(key, name, short_value(trial.values[key])) for key, name in names(summary).items()
            if trial.values.get(key) is not None]  # fmt: skip


def tiles(summary: SweepSummary) -> list[Tile]:
    """Best score, gain on the test videos, cost and savings by pruning, as far as they are known."""
    tiles_ = []
    if summary.best:
        ends = interval(summary.best)
        note = f"95\u00a0%: {100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if ends else ""
        tiles_.append(
            Tile(f"Best R@1, trial {summary.best.number}", percent_fixed(score(summary.best)), note, best=True)
        )
    runs = {run.setting: run for run in summary.final_eval}
    if BEST in runs and DEFAULT in runs:
        note = f"points: {percent_fixed(runs[DEFAULT].mean)} to {percent_fixed(runs[BEST].mean)}"
        tiles_.append(Tile("On the test videos", points(runs[BEST].mean - runs[DEFAULT].mean), note))
    seconds = sum(trial.cost.seconds for trial in summary.trials)
    epochs = sum(trial.cost.epochs for trial in summary.trials)
    shared = f", and {duration(summary.stage1_seconds)} of shared stage 1" if summary.stage1_seconds else ""
    if not summary.trials:
        return tiles_
    tiles_.append(Tile("Cost", duration(seconds), f"{epochs:,.0f} epochs of stage 2{shared}"))
    if saved := pruning_savings(summary):
        note = f"{saved.epochs:,.0f} epochs, about {duration(saved.seconds)} less than with all trials at full length"
        tiles_.append(Tile("Saved by pruning", percent_fixed(saved.share), note))
    return tiles_


def pruning_savings(summary: SweepSummary) -> PruningSavings | None:
    """Compared with all trials as long as the longest complete one; None without a complete and a pruned trial."""
    full = max((trial.cost.epochs for trial in summary.trials if trial.state == "complete"), default=0.0)
    epochs = seconds = 0.0
    for trial in summary.trials:
        if trial.state == "pruned" and 0 < trial.cost.epochs < full:
            epochs += full - trial.cost.epochs
            seconds += (full - trial.cost.epochs) * trial.cost.seconds / trial.cost.epochs
    if not epochs:
        return None
    return PruningSavings(epochs, seconds, epochs / (epochs + sum(trial.cost.epochs for trial in summary.trials)))


def failures(summary: SweepSummary) -> list[tuple[str, str]]:
    """(trials in words, reason of failure), most frequent reason first."""
    by_reason: dict[str, list[int]] = {}
    for trial in summary.trials:
        if trial.state == "failed":
            by_reason.setdefault(trial.reason or "unknown reason", []).append(trial.number)
    ordered = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[1]))
    return [(_numbered(numbers), reason) for reason, numbers in ordered]


def _numbered(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"Trial {shown}" if len(numbers) == 1 else f"{len(numbers)} trials ({shown})"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _is_running(summary: SweepSummary) -> bool:
    ended = sum(trial.state != "running" for trial in summary.trials)
    return ended < summary.total
