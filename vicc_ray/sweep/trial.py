"""A trial and its folder: the values that it tries, and what its run has written so far."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_typed
from vicc_ray.utils.jsonl import read_lines

State = Literal["running", "complete", "pruned", "failed"]
TIMES = ("data_ms", "compute_ms")
STEPS = ("step", "epoch", "stage", "samples", *TIMES)
SCORES = ("step", "epoch", "stream", "recall_at_1", "low", "high")
"""Keys that are read from a run's JSON lines."""
SCORED = "rgb"
"""The stream whose network is scored: the one used at inference."""


@dataclass(frozen=True)
class Score:
    """R@1 on the validation videos after an epoch of stage 2."""

    epoch: int
    """Epochs of stage 2 by then, of both networks together."""
    recall_at_1: float
    low: float
    high: float
    seconds: float
    """Training time without stage 1."""


@dataclass(frozen=True)
class Cost:
    """Training cost of a run, without the shared stage 1 and without process start-up."""

    epochs: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A trial in its current state."""

    number: int
    values: Mapping[str, Any]
    state: State = "running"
    reason: str = ""
    """Why it was pruned or failed; "" for other trials."""
    recall_at_1: float | None = None
    """The last score; None if there is none."""
    cost: Cost = Cost()
    curve: list[Score] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Kinds of the run's warnings."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of ``recall_at_1``."""
        return (self.curve[-1].low, self.curve[-1].high) if self.curve else None


class TrialDir:
    """``trials/0007``: config.yaml, trial.json, run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.record_file = path / "trial.json"
        self.run = RunDir(path / "run")

    def write(self, trial: Trial) -> None:
        """Write the trial's record."""
        atomic_write(self.record_file, json.dumps(asdict(trial), indent=1))

    def read(self) -> Trial:
        """Read the trial's record.

        Raises:
            UserError: it cannot be read.
        """
        return read_typed(self.record_file, Trial, "what is known of a trial", "remove it")

    def update(self, trial: Trial, videos: int) -> Trial:
        """``trial`` with the scores, cost and warnings that its run has written so far.

        Args:
            videos: number of its training videos.
        """
        steps = _stage2_steps(self.run)
        curve = _curve(self.run, steps)
        return replace(
            trial,
            recall_at_1=curve[-1].recall_at_1 if curve else None,
            cost=Cost(round(sum(map(_samples, steps)) / videos, 3), round(sum(map(_seconds, steps)), 2)),
            curve=curve,
            warnings=sorted({line["kind"] for line in read_lines(self.run.warnings_file, "kind")}),
        )


def read_curve(run: RunDir) -> list[Score]:
    """Scores of the RGB network in stage 2, in the order of their epochs."""
    return _curve(run, _stage2_steps(run))


def _curve(run: RunDir, steps: list[dict[str, Any]]) -> list[Score]:
    if not steps:
        return []
    first = steps[0]["epoch"]
    numbers, spent = [step["step"] for step in steps], list(accumulate(map(_seconds, steps)))
    scores = {}
    for line in read_lines(run.validation_file, *SCORES):
        if line["stream"] == SCORED and line["step"] >= steps[0]["step"]:
            scores[line["epoch"] - first] = Score(
                line["epoch"] - first,
                line["recall_at_1"],
                line["low"],
                line["high"],
                round(spent[bisect_right(numbers, line["step"]) - 1], 2),
            )
    return [scores[epoch] for epoch in sorted(scores)]


def training_seconds(run: RunDir) -> float:
    """Training time of all steps of a run, of both stages."""
    return sum(_seconds(line) for line in read_lines(run.metrics_file, *TIMES))


def _stage2_steps(run: RunDir) -> list[dict[str, Any]]:
    return [line for line in read_lines(run.metrics_file, *STEPS) if line["stage"] == 2]


def _samples(step: Mapping[str, Any]) -> int:
    return int(step["samples"])


def _seconds(step: Mapping[str, Any]) -> float:
    return float(step["data_ms"] + step["compute_ms"]) / 1000
