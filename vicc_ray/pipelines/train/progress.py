"""Progress display of a training run, which follows the files that the first worker writes."""

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
"""Steps before the first estimate of the time left."""
RECENT = 100
"""Newest steps, whose speed the time left is estimated from."""


@contextmanager
def follow_run(folder: RunDir, task: Task, show: bool = True) -> Iterator[None]:
    """Show the workload, then steps, loss, R@1, time left and warnings while the block runs."""
    if not show:
        yield
        return
    with background_thread(RunProgress(folder, Workload(task.sampler, task.phases)).run):
        yield


class RunProgress:
    """Progress display: shows new lines of the run's files twice a second."""

    def __init__(self, folder: RunDir, workload: Workload) -> None:
        self.workload, self.first_step = workload, folder.step
        self.bar = ProgressBar("starting Ray", workload.steps, self.first_step)
        self.steps, self.validations = JsonLinesTail(folder.metrics_file), JsonLinesTail(folder.validation_file)
        self.restarts, self.started = JsonLinesTail(folder.restarts.file, ("time_ms",)), False
        self.warnings = JsonLinesTail(folder.warnings_file, ("step", "phase", "kind"))
        self.phase = ""
        self.losses: list[float] = []
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.score, self.time_shown = "", False
        for line in self.steps.old:
            self._add(line)
        self.steps.old.clear()

    def run(self, stop: threading.Event) -> None:
        self.bar.print(f"{self.workload}" + (f"; {self.first_step:,} of them done" if self.first_step else ""))
        with self.bar:
            while not stop.wait(0.5):
                self._update()
            self._update()

    def _update(self) -> None:
        for record in self.restarts.read():
            self._show_restart(record)
        lines = self.steps.read()
        for line in lines:
            self._add(line)
            self.recent.append(line)
            if line["step"] == self.workload.ends.get(line["phase"]):
                self._show_phase_end(line["step"])
        for check in sorted(self.validations.read(), key=lambda check: int(check["step"])):
            self._show_validation(check)
        for warning in self.warnings.read():
            self.bar.print(f"{warning['phase']}, epoch {warning['epoch']}: {warning['text']}", "warning")
        if lines:
            self._show_step(lines[-1])

    def _add(self, line: dict[str, Any]) -> None:
        if line["phase"] != self.phase:
            self.phase, self.losses, self.score = line["phase"], [], ""
        self.losses.append(float("nan") if line["loss"] is None else line["loss"])

    def _show_phase_end(self, step: int) -> None:
        """Show a finished phase's losses, computed as in the report."""
        first, last = start_mean(self.losses), end_mean(self.losses)
        if first is not None and last is not None:
            self.bar.print(f"{self.phase} ended at step {step:,}: loss {first:.2f} -> {last:.2f}")

    def _show_validation(self, check: dict[str, Any]) -> None:
        score = f"R@1 {check['stream']} {100 * check['recall_at_1']:.1f} %"
        late = "" if check["phase"] == self.phase else ", scored later"
        where = f"{check['phase']}, after epoch {check['epoch']} (step {check['step']:,}{late})"
        self.bar.print(f"validation: {where}: {score} on {check['videos']} videos")
        if not late:
            self.score = score

    def _show_restart(self, record: dict[str, Any]) -> None:
        """Show a line of the restart log: an error, a wait or a start."""
        if "error" in record:
            self.bar.print(record["error"], "interrupted")
        elif "waits_for" in record:
            self.bar.print(f"waiting for {record['waits_for']}")
        else:
            if self.started or record["step"]:
                self.bar.print(f"resuming from step {record['step']} with {record['workers']} workers")
            self.started = True

    def _show_step(self, line: dict[str, Any]) -> None:
        step, left = line["step"], self._seconds_left(line["step"])
        if not self.time_shown and left and len(self.recent) >= FIRST_STEPS:
            self.time_shown = True
            speed = f"at the speed of the first {len(self.recent)} steps"
            self.bar.print(f"about {duration(left)} of training left, {speed}")
        loss = end_mean(self.losses)
        figures = ["" if loss is None else f"loss {loss:.3f}", f"{line['samples_per_s']:.0f} samples/s", self.score]
        title = self.phase if step < self.workload.steps else "last checkpoint and validation"
        self.bar.update(step, "  ".join(figure for figure in figures if figure), title, left)

    def _seconds_left(self, step: int) -> float | None:
        """Estimate from the newest steps, without waits for nodes and restarts."""
        spent = sum(line["data_ms"] + line["compute_ms"] for line in self.recent) / 1000
        cost = sum(self.workload.cost(line["step"] - 1, line["step"]) for line in self.recent)
        return self.workload.cost(step, self.workload.steps) * spent / cost if cost else None


class JsonLinesTail:
    """Reader of complete new lines of a growing JSON-lines file, which a resumed run may replace by a shorter one.

    Lines present at the start are in ``old`` only. Of lines with equal ``keys``, only the first is returned.
    """

    def __init__(self, path: Path, keys: tuple[str, ...] = ("step", "phase")) -> None:
        self._path, self._keys = path, keys
        self._file: TextIO | None = None
        self._partial = ""
        self.old = read_lines(path)
        self._seen = {self._key(line) for line in self.old}

    def read(self) -> list[dict[str, Any]]:
        if self._file is None or self._replaced(self._file):
            if not self._path.exists():
                return []
            self._file, self._partial = self._path.open(), ""
        *complete, self._partial = (self._partial + self._file.read()).split("\n")
        lines = [record for line in complete if (record := parse_line(line)) is not None]
        new = [line for line in lines if self._key(line) not in self._seen]
        self._seen.update(self._key(line) for line in new)
        return new

    def _key(self, line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in self._keys)

    def _replaced(self, file: TextIO) -> bool:
        return not self._path.exists() or os.fstat(file.fileno()).st_ino != self._path.stat().st_ino
