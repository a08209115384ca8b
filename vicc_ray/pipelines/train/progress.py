"""Live progress of a training run: follows the files that the first worker writes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from vicc_ray.reports.run.curves import end_mean, start_mean
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.training.tasks.base import Task
from vicc_ray.training.workload import Workload
from vicc_ray.utils.background_thread import background_thread
from vicc_ray.utils.jsonl import parse_line, read_lines
from vicc_ray.utils.progress_bar import ProgressBar, duration

FIRST_STEPS = 10
"""Steps after which the speed of a run is worth telling."""
RECENT = 100
"""Steps by whose speed the time left is judged."""


@contextmanager
def follow_run(folder: RunDir, task: Task, show: bool = True) -> Iterator[None]:
    """Show what the schedule comes to, and while the block runs steps, loss, R@1, time left and what looks wrong."""
    if not show:
        yield
        return
    with background_thread(RunProgress(folder, Workload(task.sampler, task.phases)).run):
        yield


class RunProgress:
    """Reads what is new in the run's files twice a second and shows it."""

    def __init__(self, folder: RunDir, workload: Workload) -> None:
        self.workload, self.begun_at = workload, folder.step
        self.bar = ProgressBar("starting Ray", workload.steps, self.begun_at)
        self.steps, self.checks = JsonLinesTail(folder.metrics_file), JsonLinesTail(folder.validation_file)
        self.restarts, self.begun = JsonLinesTail(folder.restarts.file, ("time_ms",)), False
        self.warnings = JsonLinesTail(folder.warnings_file, ("step", "phase", "kind"))
        self.phase = ""
        self.losses: list[float] = []
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.score, self.told_time = "", False
        for line in self.steps.old:
            self._add(line)
        self.steps.old.clear()

    def run(self, stop: threading.Event) -> None:
        self.bar.print(f"{self.workload}" + (f"; {self.begun_at:,} of them are done" if self.begun_at else ""))
        with self.bar:
            while not stop.wait(0.5):
                self._update()
            self._update()

    def _update(self) -> None:
        for attempt in self.restarts.read():
            self._tell(attempt)
        lines = self.steps.read()
        for line in lines:
            self._add(line)
            self.recent.append(line)
            if line["step"] == self.workload.ends.get(line["phase"]):
                self._tell_end(line["step"])
        for check in sorted(self.checks.read(), key=lambda check: int(check["step"])):
            self._tell_check(check)
        for warning in self.warnings.read():
            self.bar.print(f"{warning['phase']}, epoch {warning['epoch']}: {warning['text']}", "warning")
        if lines:
            self._show(lines[-1])

    def _add(self, line: dict[str, Any]) -> None:
        if line["phase"] != self.phase:
            self.phase, self.losses, self.score = line["phase"], [], ""
        self.losses.append(float("nan") if line["loss"] is None else line["loss"])

    def _tell_end(self, step: int) -> None:
        """The figures of a phase that ended, as the report has them."""
        first, last = start_mean(self.losses), end_mean(self.losses)
        if first is not None and last is not None:
            self.bar.print(f"{self.phase} ended at step {step:,}: loss {first:.2f} -> {last:.2f}")

    def _tell_check(self, check: dict[str, Any]) -> None:
        score = f"R@1 {check['stream']} {100 * check['recall_at_1']:.1f} %"
        late = "" if check["phase"] == self.phase else ", scored since"
        where = f"{check['phase']}, after epoch {check['epoch']} (step {check['step']:,}{late})"
        self.bar.print(f"held out: {where}: {score} on {check['videos']} videos")
        if not late:
            self.score = score

    def _tell(self, attempt: dict[str, Any]) -> None:
        """What disturbed the run, and that it goes on."""
        if "error" in attempt:
            self.bar.print(attempt["error"], "interrupted")
        elif "waits_for" in attempt:
            self.bar.print(f"waiting for {attempt['waits_for']}")
        else:
            if self.begun or attempt["step"]:
                self.bar.print(f"going on from step {attempt['step']} with workers: {attempt['workers']}")
            self.begun = True

    def _show(self, line: dict[str, Any]) -> None:
        step, left = line["step"], self._seconds_left(line["step"])
        if not self.told_time and left and len(self.recent) >= FIRST_STEPS:
            self.told_time = True
            speed = f"by the speed of the first {len(self.recent)} steps"
            self.bar.print(f"about {duration(left)} of training left, {speed}")
        loss = end_mean(self.losses)
        figures = ["" if loss is None else f"loss {loss:.3f}", f"{line['samples_per_s']:.0f} samples/s", self.score]
        title = self.phase if step < self.workload.steps else "last checkpoint and scores"
        self.bar.update(step, "  ".join(figure for figure in figures if figure), title, left)

    def _seconds_left(self, step: int) -> float | None:
        """By what the newest steps took; waiting for machines and restarts do not count."""
        spent = sum(line["data_ms"] + line["compute_ms"] for line in self.recent) / 1000
        cost = sum(self.workload.cost(line["step"] - 1, line["step"]) for line in self.recent)
        return self.workload.cost(step, self.workload.steps) * spent / cost if cost else None


class JsonLinesTail:
    """New whole lines of a JSON-lines file that grows, and that a resumed run replaces by a shorter one.

    What was there at the start is left out (it is in ``old``), and no line comes twice that is the same in ``keys``.
    """

    def __init__(self, path: Path, keys: tuple[str, ...] = ("step", "phase")) -> None:
        self._path, self._keys = path, keys
        self._file: TextIO | None = None
        self._rest = ""
        self.old = read_lines(path)
        self._seen = {self._key(line) for line in self.old}

    def read(self) -> list[dict[str, Any]]:
        if self._file is None or self._replaced(self._file):
            if not self._path.exists():
                return []
            self._file, self._rest = self._path.open(), ""
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        lines = [record for line in whole if (record := parse_line(line)) is not None]
        new = [line for line in lines if self._key(line) not in self._seen]
        self._seen.update(self._key(line) for line in new)
        return new

    def _key(self, line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in self._keys)

    def _replaced(self, file: TextIO) -> bool:
        return not self._path.exists() or os.fstat(file.fileno()).st_ino != self._path.stat().st_ino
