"""Live progress of a pretraining run: follows the metrics file that the first worker writes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vicc_ray.beside import beside
from vicc_ray.training.json_lines import read_lines
from vicc_ray.training.run_folder import RunFolder

PLAIN_INTERVAL_S = 30.0
"""Seconds between lines where the output is no terminal."""


@contextmanager
def follow_run(folder: RunFolder, total_steps: int, show: bool = True) -> Iterator[None]:
    """Show steps, loss, R@1, time left and what looks wrong while the block runs.

    Args:
        total_steps: of the whole schedule.
    """
    if not show:
        yield
        return
    with beside(_Follower(folder, total_steps).run):
        yield


class _Follower:
    """Reads what is new in the run's files twice a second and shows it."""

    def __init__(self, folder: RunFolder, total: int) -> None:
        self.total = total
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.steps, self.checks = _Tail(folder.metrics_file), _Tail(folder.evaluations_file)
        self.attempts, self.begun = _Tail(folder.attempts.file, ("time_ms",)), False
        self.warnings = _Tail(folder.warnings_file, ("step", "turn", "kind"))
        columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        more = (TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        self.bar = Progress(*columns, *more, console=self.console, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("starting Ray", total=total, note="")
        self.newest: dict[str, Any] | None = None
        self.turn, self.score = "", ""
        self.printed = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        with self.bar:
            while not stop.wait(0.5):
                self._update(ending=False)
            self._update(ending=True)

    def _update(self, ending: bool) -> None:
        for check in self.checks.read():
            self.score = f"R@1 {check['stream']} {100 * check['recall_at_1']:.1f} %"
            where = f"{check['turn']}, epoch {check['epoch']}"
            self.console.print(f"{where}: {self.score} on {check['videos']} held-out videos")
        for attempt in self.attempts.read():
            self._tell(attempt)
        for warning in self.warnings.read():
            where = f"{warning['turn']}, epoch {warning['epoch']}"
            self.console.print(f"[yellow]warning[/yellow]: {where}: {escape(warning['text'])}")
        lines = self.steps.read()
        self.newest = lines[-1] if lines else self.newest
        if self.newest and (lines or ending):
            self._show(self.newest, ending)

    def _tell(self, attempt: dict[str, Any]) -> None:
        """What disturbed the run, and that it goes on."""
        if "error" in attempt:
            self.console.print(f"[yellow]interrupted[/yellow]: {escape(attempt['error'])}")
        elif "waits_for" in attempt:
            self.console.print(f"waiting for {escape(attempt['waits_for'])}")
        elif attempt["workers"]:
            if self.begun:
                self.console.print(f"going on from step {attempt['step']} with workers: {attempt['workers']}")
            self.begun = True

    def _show(self, line: dict[str, Any], ending: bool) -> None:
        self.turn = line["turn"]
        note = f"loss {line['loss']:.3f}  {line['samples_per_s']:.0f} samples/s  {self.score}"
        self.bar.update(self.task, completed=line["step"], description=self.turn, note=note)
        if not self.console.is_terminal and (ending or time.monotonic() - self.printed > PLAIN_INTERVAL_S):
            self.printed = time.monotonic()
            seconds = self.bar.tasks[0].time_remaining
            left = "" if seconds is None else f", {seconds / 60:.1f} min left"
            self.console.print(f"{self.turn}: step {line['step']}/{self.total}, {note}{left}")


class _Tail:
    """New whole lines of a JSON-lines file that grows, and that a resumed run replaces by a shorter one.

    What was there at the start is left out, and no line comes twice that is the same in ``keys``.
    """

    def __init__(self, path: Path, keys: tuple[str, ...] = ("step", "turn")) -> None:
        self._path, self._keys = path, keys
        self._file: TextIO | None = None
        self._rest = ""
        self._seen = {self._key(line) for line in read_lines(path)}

    def read(self) -> list[dict[str, Any]]:
        if self._file is None or self._replaced(self._file):
            if not self._path.exists():
                return []
            self._file, self._rest = self._path.open(), ""
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        lines = [json.loads(line) for line in whole if line]
        new = [line for line in lines if self._key(line) not in self._seen]
        self._seen.update(self._key(line) for line in new)
        return new

    def _key(self, line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in self._keys)

    def _replaced(self, file: TextIO) -> bool:
        return not self._path.exists() or os.fstat(file.fileno()).st_ino != self._path.stat().st_ino
