"""Progress bar with labeled clocks in a terminal, and a line at intervals elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from vicc_ray.utils.console import Console, print_above
from vicc_ray.utils.visible_text import visible

PLAIN_INTERVAL_S = 30.0
"""Seconds between lines when stderr is not a terminal."""


class ProgressBar:
    """Counts from ``done`` to ``total`` on stderr while the block runs.

    In a terminal: ``title  ━━━━  120/400  elapsed 1:20  left 3:10``, and the note on a second line, so that 80 columns
    suffice. Elsewhere, for example in a log: the same as text every :data:`PLAIN_INTERVAL_S` seconds and at the end.

    Args:
        done: count at the start; only later progress counts for the speed.
        show: False shows nothing.
    """

    def __init__(self, title: str, total: int, done: int = 0, show: bool = True) -> None:
        self.console = Console(show)
        self._above = ExitStack()
        self._live = _Display(self.console, disable=not (show and self.console.is_terminal))
        self._task = self._live.add_task(visible(title), total=total, completed=done, note="", left=None)
        self._printed = time.monotonic()
        self._written = ""

    def __enter__(self) -> ProgressBar:
        self._above.enter_context(print_above(self.console))
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.console.is_terminal:
            self._print_plain()
        self._live.stop()
        self._above.close()

    @property
    def done(self) -> int:
        """Current count."""
        return int(self._state.completed)

    def advance(self, count: int, note: str | None = None) -> None:
        """Add to the count."""
        self.update(self.done + count, note)

    def update(
        self, done: int, note: str | None = None, title: str | None = None, seconds_left: float | None = None
    ) -> None:
        """Set the count.

        Args:
            note: text next to the count; None keeps the present one.
            seconds_left: estimate of the caller; None estimates from the speed of the last half minute.
        """
        state = self._state
        state.fields["left"] = seconds_left
        note = state.fields["note"] if note is None else note
        title = visible(title) if title else state.description
        self._live.update(self._task, completed=done, note=visible(note), description=title)
        if not self.console.is_terminal and time.monotonic() - self._printed >= PLAIN_INTERVAL_S:
            self._print_plain()

    def print(self, text: str, mark: str = "") -> None:
        """Print a line above the bar, with ``mark`` in yellow in front."""
        self.console.print_line(f": {text}" if mark else text, mark)

    @property
    def _state(self) -> Task:
        return self._live.tasks[0]

    def _print_plain(self) -> None:
        """Print the state as a line, unless it equals the last line."""
        self._printed, state = time.monotonic(), self._state
        parts = [f"{state.description}: {self.done}/{int(state.total or 0)}", state.fields["note"]]
        if ", ".join(parts) == self._written:
            return
        self._written = ", ".join(parts)
        left = _left(state)
        parts += [f"{duration(state.elapsed or 0.0)} elapsed", "" if left is None else f"about {duration(left)} left"]
        self.console.print_line(", ".join(part for part in parts if part))


def duration(seconds: float) -> str:
    """ "48 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _left(state: Task) -> float | None:
    """Estimated seconds left; None if unknown or finished."""
    if state.finished or state.completed >= (state.total or 0):
        return None
    estimate = state.fields["left"]
    return state.time_remaining if estimate is None else estimate


class _Display(Progress):
    """Bar, and the note on a line of its own: together they do not fit into 80 columns."""

    def __init__(self, console: Console, disable: bool) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Clock("elapsed"),
            _Clock("left"),
        )
        super().__init__(*columns, console=console, disable=disable, expand=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"  {task.fields['note']}", no_wrap=True, overflow="ellipsis")


class _Clock(ProgressColumn):
    """Labeled hours, minutes and seconds."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def render(self, task: Task) -> Text:
        seconds = task.elapsed if self._name == "elapsed" else _left(task)
        if seconds is None:
            return Text("" if task.finished else f"{self._name} -:--")
        minutes, rest = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
        return Text(f"{self._name} {clock}")
