"""The terminal while a sweep runs: the best trials, what runs now, time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from vicc_ray.config.yaml import short_value
from vicc_ray.sweep.trial import Trial
from vicc_ray.utils.background_thread import background_thread
from vicc_ray.utils.console import Console, line_of, print_above

LOOK_S = 2.0
SHOWN = 10
"""Trials in the table: those that run, and the best."""
Read = Callable[[], list[Trial]]


@contextmanager
def follow_sweep(read: Read, total: int, doing: Callable[[], str], show: bool = True) -> Iterator[None]:
    """Show a table while the block runs; where the output is no terminal, a line for each new score and each end.

    Args:
        read: what is known of the trials now.
        total: trials of the search.
        doing: what else goes on, in words, "" if nothing does.
    """
    if not show:
        yield
        return
    console = Console()
    with background_thread(_Follower(read, total, doing, console).run):
        yield


def leaderboard(trials: Sequence[Trial], total: int, minutes_left: float | None = None, doing: str = "") -> Table:
    """The best trials, the running ones first; the title tells what goes on beside them."""
    ended = [trial for trial in trials if trial.state != "running"]
    left = "" if minutes_left is None else f", about {minutes_left:.0f} min left"
    also = f"; {doing}" if doing else ""
    table = Table(title=line_of(f"{len(ended)} of {total} trials{left}{also}"), title_justify="left", show_edge=False)
    for name in ("trial", "R@1 %", "epochs", "min", "setting", ""):
        table.add_column(name, justify="right" if name in ("R@1 %", "epochs", "min") else "left")
    for trial in ranked(trials)[:SHOWN]:
        table.add_row(
            str(trial.number),
            _percent(trial.recall_at_1),
            f"{trial.cost.epochs:.1f}",
            f"{trial.cost.seconds / 60:.1f}",
            line_of(setting_in_words(trial)),
            line_of(_state(trial)),
        )
    return table


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Running ones, then complete ones by R@1, then those that ended early, then those that failed."""
    order = {"running": 0, "complete": 1, "pruned": 2, "failed": 3}
    return sorted(trials, key=lambda t: (order[t.state], -(t.recall_at_1 or 0.0), t.number))


def setting_in_words(trial: Trial) -> str:
    """``epsilon 0.05  prototypes 12``: the searched settings without their sections."""
    return "  ".join(f"{key.rpartition('.')[2]} {short_value(value)}" for key, value in trial.values.items())


class _Follower:
    def __init__(self, read: Read, total: int, doing: Callable[[], str], console: Console) -> None:
        self.read, self.total, self.doing, self.console = read, total, doing, console
        self.done = ""
        self.begun, self.ended_before = time.monotonic(), sum(t.state != "running" for t in read())
        self.told: dict[int, tuple[int, str]] = {t.number: (len(t.curve), t.state) for t in read()}

    def run(self, over: threading.Event) -> None:
        if self.console.is_terminal:
            with print_above(self.console), Live(console=self.console, refresh_per_second=1) as live:
                while not over.wait(LOOK_S):
                    trials = self.read()
                    live.update(leaderboard(trials, self.total, self._minutes_left(trials), self.doing()))
                live.update(leaderboard(self.read(), self.total))
            return
        while not over.wait(LOOK_S):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        trials = self.read()
        for trial in trials:
            now = (len(trial.curve), trial.state)
            if self.told.get(trial.number) == now:
                continue
            self.told[trial.number] = now
            left = self._minutes_left(trials)
            eta = "" if left is None else f" (about {left:.0f} min left)"
            place = f"trial {trial.number} of {self.total}, {_state(trial)}"
            self.console.tell(f"{place}{_score(trial)}  {setting_in_words(trial)}{eta}")
        doing = self.doing()
        if doing != self.done:
            self.done = doing
            if doing:
                self.console.tell(doing)

    def _minutes_left(self, trials: Sequence[Trial]) -> float | None:
        ended = sum(trial.state != "running" for trial in trials)
        made = ended - self.ended_before
        if made <= 0 or ended == self.total:
            return None
        return (time.monotonic() - self.begun) / made * (self.total - ended) / 60


def _state(trial: Trial) -> str:
    words = {"running": "running", "complete": "complete", "pruned": "ended early", "failed": f"failed: {trial.reason}"}
    return words[trial.state] + (f" (warned: {', '.join(trial.warnings)})" if trial.warnings else "")


def _score(trial: Trial) -> str:
    return f": R@1 {_percent(trial.recall_at_1)} % at epoch {trial.curve[-1].epoch}" if trial.curve else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
