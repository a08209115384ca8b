"""The table in the terminal while a sweep runs: the best trials, the running ones, the time left."""

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

POLL_INTERVAL_S = 2.0
MAX_ROWS = 10
"""Trials in the table: the running ones, then the best."""
Read = Callable[[], list[Trial]]


@contextmanager
def follow_sweep(read: Read, total: int, status_text: Callable[[], str], show: bool = True) -> Iterator[None]:
    """Show a table while the block runs; without a terminal, print a line for each new score and each ended trial.

    Args:
        read: returns all trials in their current state.
        total: number of trials of the search.
        status_text: returns what else is in progress, "" for nothing.
    """
    if not show:
        yield
        return
    console = Console()
    with background_thread(_ProgressDisplay(read, total, status_text, console).run):
        yield


def leaderboard(trials: Sequence[Trial], total: int, minutes_left: float | None = None, status_text: str = "") -> Table:
    """The running trials and the best ones; the title has the progress and what else is in progress."""
    ended = [trial for trial in trials if trial.state != "running"]
    left = "" if minutes_left is None else f", about {minutes_left:.0f} min left"
    also = f"; {status_text}" if status_text else ""
    table = Table(title=line_of(f"{len(ended)} of {total} trials{left}{also}"), title_justify="left", show_edge=False)
    for name in ("trial", "R@1 %", "epochs", "min", "setting", ""):
        table.add_column(name, justify="right" if name in ("R@1 %", "epochs", "min") else "left")
    for trial in ranked(trials)[:MAX_ROWS]:
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
    """Running trials, then complete ones by R@1, then pruned ones, then failed ones."""
    order = {"running": 0, "complete": 1, "pruned": 2, "failed": 3}
    return sorted(trials, key=lambda t: (order[t.state], -(t.recall_at_1 or 0.0), t.number))


def setting_in_words(trial: Trial) -> str:
    """``epsilon 0.05  prototypes 12``: the searched settings without their sections."""
    return "  ".join(f"{key.rpartition('.')[2]} {short_value(value)}" for key, value in trial.values.items())


class _ProgressDisplay:
    """Prints what changes: a live table in a terminal, else lines."""

    def __init__(self, read: Read, total: int, status_text: Callable[[], str], console: Console) -> None:
        self.read, self.total, self.status_text, self.console = read, total, status_text, console
        self.last_status = ""
        self.started, self.ended_before = time.monotonic(), sum(t.state != "running" for t in read())
        self.printed: dict[int, tuple[int, str]] = {t.number: (len(t.curve), t.state) for t in read()}

    def run(self, over: threading.Event) -> None:
        if self.console.is_terminal:
            with print_above(self.console), Live(console=self.console, refresh_per_second=1) as live:
                while not over.wait(POLL_INTERVAL_S):
                    trials = self.read()
                    live.update(leaderboard(trials, self.total, self._minutes_left(trials), self.status_text()))
                live.update(leaderboard(self.read(), self.total))
            return
        while not over.wait(POLL_INTERVAL_S):
            self._print_changes()
        self._print_changes()

    def _print_changes(self) -> None:
        trials = self.read()
        for trial in trials:
            state = (len(trial.curve), trial.state)
            if self.printed.get(trial.number) == state:
                continue
            self.printed[trial.number] = state
            left = self._minutes_left(trials)
            eta = "" if left is None else f" (about {left:.0f} min left)"
            progress = f"trial {trial.number} of {self.total}, {_state(trial)}"
            self.console.print_line(f"{progress}{_score(trial)}  {setting_in_words(trial)}{eta}")
        status = self.status_text()
        if status != self.last_status:
            self.last_status = status
            if status:
                self.console.print_line(status)

    def _minutes_left(self, trials: Sequence[Trial]) -> float | None:
        ended = sum(trial.state != "running" for trial in trials)
        newly_ended = ended - self.ended_before
        if newly_ended <= 0 or ended == self.total:
            return None
        return (time.monotonic() - self.started) / newly_ended * (self.total - ended) / 60


def _state(trial: Trial) -> str:
    words = {"running": "running", "complete": "complete", "pruned": "pruned", "failed": f"failed: {trial.reason}"}
    return words[trial.state] + (f" (warnings: {', '.join(trial.warnings)})" if trial.warnings else "")


def _score(trial: Trial) -> str:
    return f": R@1 {_percent(trial.recall_at_1)} % at epoch {trial.curve[-1].epoch}" if trial.curve else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
