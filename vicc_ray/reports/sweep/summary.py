"""The head of the page: what was searched, what was found, what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vicc_ray.config.yaml import short_value
from vicc_ray.reports.run.build import duration
from vicc_ray.reports.run.summary import points
from vicc_ray.reports.sweep.trial_style import WORDS, interval, is_best, names, percent, score
from vicc_ray.sweep.results import BEST, DEFAULT, Summary
from vicc_ray.sweep.trial import Trial


@dataclass(frozen=True)
class Tile:
    """A figure with its name and a note."""

    label: str
    value: str
    note: str
    best: bool = False


@dataclass(frozen=True)
class Saved:
    """What trials that ended early did not spend."""

    epochs: float
    seconds: float
    share: float
    """Of the epochs that all these and the spent ones are."""


def headline(summary: Summary) -> str:
    """The main result."""
    trials = summary.trials
    if summary.best:
        found = f"{percent(score(summary.best))} R@1"
        return f"{found} at the best of {len(trials)} settings" if len(trials) > 1 else f"{found} in the only trial"
    if not trials:
        return "No trial has begun yet"
    if all(trial.state == "failed" for trial in trials):
        return "The only trial failed" if len(trials) == 1 else f"All {len(trials)} trials failed"
    return "No trial has come to its end yet" if _left(summary) else "No trial came to its end"


def lead(summary: Summary) -> str:
    """What was searched, and what became of the trials."""
    short_names = list(names(summary).values())
    searched = " and ".join(filter(None, [", ".join(short_names[:-1]), short_names[-1] if short_names else ""]))
    counts = Counter(trial.state for trial in summary.trials)
    states = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    tried = (
        f"{_count(len(summary.trials), 'trial')} of {summary.total}"
        if _left(summary)
        else _count(len(summary.trials), "trial")
    )
    return (
        f"Searched: {searched} of the recipe {summary.recipe}. {tried}{': ' if states else ''}{states}. R@1 is how "
        "often the nearest neighbour of a held-out video shows the same class."
    )


def luck(summary: Summary) -> str:
    """How sure the best is; "" where there is none."""
    ends = interval(summary.best) if summary.best else None
    if not ends:
        return ""
    others = [t for t in summary.trials if t.state == "complete" and not is_best(t, summary)]
    near = sum((score(trial) or 0.0) >= ends[0] for trial in others)
    if not others or not near:
        return "No other complete trial lies within its interval." if others else ""
    which = f"All {near}" if near == len(others) > 1 else f"{near} of the {len(others)}"
    return (
        f"{which} other complete trials lie within its interval: the highest of many scores of the same videos is "
        "partly luck" + (", so the test videos judge it below." if summary.judged else ".")
    )


def setting(summary: Summary, trial: Trial) -> list[tuple[str, str, str]]:
    """(key, short name, value) of what a trial tries, in the order of the search."""
    return [(key, name, short_value(trial.values[key])) for key, name in names(summary).items()
            if trial.values.get(key) is not None]  # fmt: skip


def tiles(summary: Summary) -> list[Tile]:
    """Best score, gain on the test videos, cost and what early ends saved, as far as they are known."""
    found = []
    if summary.best:
        ends = interval(summary.best)
        note = f"95\u00a0%: {100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if ends else ""
        found.append(Tile(f"Best R@1, trial {summary.best.number}", percent(score(summary.best)), note, best=True))
    runs = {run.setting: run for run in summary.judged}
    if BEST in runs and DEFAULT in runs:
        note = f"points: {percent(runs[DEFAULT].mean)} to {percent(runs[BEST].mean)}"
        found.append(Tile("On the test videos", points(runs[BEST].mean - runs[DEFAULT].mean), note))
    seconds = sum(trial.cost.seconds for trial in summary.trials)
    epochs = sum(trial.cost.epochs for trial in summary.trials)
    shared = f", and {duration(summary.stage1_seconds)} of stage 1, shared" if summary.stage1_seconds else ""
    if not summary.trials:
        return found
    found.append(Tile("Cost", duration(seconds), f"{epochs:,.0f} epochs of stage 2{shared}"))
    if saved := saved_by_ending(summary):
        note = f"{saved.epochs:,.0f} epochs, about {duration(saved.seconds)}, against all trials at full length"
        found.append(Tile("Saved by ending early", percent(saved.share), note))
    return found


def saved_by_ending(summary: Summary) -> Saved | None:
    """Against all trials as long as the longest complete one; None where none is complete or none ended early."""
    full = max((trial.cost.epochs for trial in summary.trials if trial.state == "complete"), default=0.0)
    epochs = seconds = 0.0
    for trial in summary.trials:
        if trial.state == "pruned" and 0 < trial.cost.epochs < full:
            epochs += full - trial.cost.epochs
            seconds += (full - trial.cost.epochs) * trial.cost.seconds / trial.cost.epochs
    if not epochs:
        return None
    return Saved(epochs, seconds, epochs / (epochs + sum(trial.cost.epochs for trial in summary.trials)))


def failures(summary: Summary) -> list[tuple[str, str]]:
    """(trials in words, reason), most frequent first."""
    by_reason: dict[str, list[int]] = {}
    for trial in summary.trials:
        if trial.state == "failed":
            by_reason.setdefault(trial.reason or "no reason is known", []).append(trial.number)
    ordered = sorted(by_reason.items(), key=lambda found: (-len(found[1]), found[1]))
    return [(_numbered(numbers), reason) for reason, numbers in ordered]


def _numbered(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"Trial {shown}" if len(numbers) == 1 else f"{len(numbers)} trials ({shown})"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _left(summary: Summary) -> bool:
    ended = sum(trial.state != "running" for trial in summary.trials)
    return ended < summary.total
