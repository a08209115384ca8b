"""The results of a sweep so far, as plain data: trials, best trial, importances, final evaluation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vicc_ray.sweep.trial import Trial

BEST, DEFAULT = "best", "default"


@dataclass(frozen=True)
class FinalEval:
    """R@1 on the test videos for each of several new seeds, of the best setting or of the default."""

    setting: str
    recall_at_1: list[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.recall_at_1)

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds; 0 for a single seed."""
        return statistics.stdev(self.recall_at_1) if len(self.recall_at_1) > 1 else 0.0


@dataclass(frozen=True)
class SweepSummary:
    """The results of a sweep so far."""

    name: str
    recipe: str
    searched: list[str]
    total: int
    trials: list[Trial]
    best: Trial | None
    importances: Mapping[str, float]
    final_eval: list[FinalEval]
    stage1_seconds: float
    """Training time of the stage 1 runs that trials share."""

    def as_json(self) -> dict[str, Any]:
        """The content of sweep-summary.json."""
        final_eval = [{**asdict(run), "mean": run.mean, "deviation": run.deviation} for run in self.final_eval]
        return {**asdict(self), "final_eval": final_eval}


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest R@1, the first of several; None without one."""
    scores = [(trial.recall_at_1, trial) for trial in trials if trial.state == "complete"]
    known = [(score, trial) for score, trial in scores if score is not None and math.isfinite(score)]
    return max(known, key=lambda pair: (pair[0], -pair[1].number), default=(0.0, None))[1]
