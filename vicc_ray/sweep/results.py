"""What a sweep has found by now, as plain data: the trials, the best of them, and how the test videos judge it."""

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
    """R@1 on the test videos with fresh seeds, of the best setting or of the default one."""

    setting: str
    recall_at_1: list[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.recall_at_1)

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds; 0 of one."""
        return statistics.stdev(self.recall_at_1) if len(self.recall_at_1) > 1 else 0.0


@dataclass(frozen=True)
class SweepSummary:
    """A sweep as far as it has come."""

    name: str
    recipe: str
    searched: list[str]
    total: int
    trials: list[Trial]
    best: Trial | None
    importances: Mapping[str, float]
    final_eval: list[FinalEval]
    stage1_seconds: float
    """Spent on the stages 1 that trials share."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        final_eval = [{**asdict(run), "mean": run.mean, "deviation": run.deviation} for run in self.final_eval]
        return {**asdict(self), "final_eval": final_eval}


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest R@1, the first of several; None where there is none."""
    scores = [(trial.recall_at_1, trial) for trial in trials if trial.state == "complete"]
    known = [(score, trial) for score, trial in scores if score is not None and math.isfinite(score)]
    return max(known, key=lambda found: (found[0], -found[1].number), default=(0.0, None))[1]
