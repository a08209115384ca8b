"""Live progress of a pretraining run: follows the metrics file that the first worker writes."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_INTERVAL_S = 30.0
"""Seconds between lines where the output is no terminal."""


@contextmanager
def follow_run(metrics: Path, evaluations: Path, total_steps: int, show: bool = True) -> Iterator[None]:
    """Show steps, loss, R@1 and time left while the block runs."""
    if not show:
        yield
        return
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(metrics, evaluations, total_steps, stop), daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


def _follow(metrics: Path, evaluations: Path, total: int, stop: threading.Event) -> None:
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    lines, scores = _Tail(metrics), _Tail(evaluations)
    last: dict[str, Any] = {}
    score = ""
    printed = time.monotonic()
    with progress:
        task = progress.add_task("starting Ray", total=total, note="")
        while True:
            ending = stop.is_set()
            for line in scores.read():
                score = f"R@1 {line['stream']} {100 * line['recall_at_1']:.1f} %"
                progress.console.print(
                    f"{line['turn']}, epoch {line['epoch']}: {score} on {line['videos']} held-out videos"
                )
            for line in lines.read():
                last = line
            if last:
                note = f"loss {last['loss']:.3f}  {last['samples_per_s']:.0f} samples/s  {score}"
                progress.update(task, completed=last["step"], description=last["turn"], note=note)
                if not console.is_terminal and (ending or time.monotonic() - printed > PLAIN_INTERVAL_S):
                    printed = time.monotonic()
                    console.print(
                        f"{last['turn']}: step {last['step']}/{total}, {note}, {_left(progress)}", highlight=False
                    )
            if ending:
                return
            stop.wait(0.5)


def _left(progress: Progress) -> str:
    seconds = progress.tasks[0].time_remaining
    return "time left unknown" if seconds is None else f"{seconds / 60:.1f} min left"


class _Tail:
    """Whole new lines of a growing JSON-lines file; what was there at the start is skipped over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._rest = ""
        self._skip = path.stat().st_size if path.exists() else 0

    def read(self) -> list[dict[str, Any]]:
        if self._file is None:
            if not self._path.exists():
                return []
            self._file = self._path.open()
            self._file.seek(min(self._skip, self._path.stat().st_size))
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        return [json.loads(line) for line in whole if line]
