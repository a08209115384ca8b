"""Sweeps that nobody made, as far as they might have come."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from vicc_ray.sweep.results import FinalEval, SweepSummary, best_trial
from vicc_ray.sweep.trial import Cost, Score, State, Trial

SEARCHED = [
    *("stage2.num_prototypes", "stage2.temperature", "stage2.sinkhorn_epsilon", "schedule.epochs_per_phase"),
    *("stage2.queue_size", "stage2.queue_start_epoch"),
]
VIDEOS = 120
"""Held out: what the intervals are as wide as."""


def summary_of(trials: list[Trial], **changes: Any) -> SweepSummary:
    """Of these trials, all that there are to be."""
    whole = SweepSummary(
        name="made", recipe="demo", searched=list(trials[0].values) if trials else ["stage2.sinkhorn_epsilon"],
        total=len(trials), trials=trials, best=best_trial(trials), importances={}, final_eval=[], stage1_seconds=0.0,
    )  # fmt: skip
    return replace(whole, **changes)


def trial_of(
    number: int = 0, state: State = "complete", scores: tuple[float, ...] = (0.3, 0.4), **changes: Any
) -> Trial:
    """One whose R@1 had these scores, an epoch and 30 seconds apart."""
    curve = [Score(epoch, score, *interval(score), 30.0 * epoch) for epoch, score in enumerate(scores, 1)]
    made = Trial(
        number=number, values={"stage2.sinkhorn_epsilon": 0.05}, state=state,
        recall_at_1=scores[-1] if scores else None, cost=Cost(float(len(scores)), 30.0 * len(scores)), curve=curve,
    )  # fmt: skip
    return replace(made, **changes)


def interval(score: float) -> tuple[float, float]:
    """Of a rate over the held-out videos, roughly."""
    half = 1.96 * math.sqrt(max(score * (1 - score), 0.01) / VIDEOS)
    return max(0.0, score - half), min(1.0, score + half)


def searched(count: int, seed: int = 0) -> SweepSummary:
    """Trials as a search of ``count`` makes them: some end early, some fail, one warns, a condition leaves out."""
    draws = np.random.default_rng(seed)
    trials = [_drawn(number, draws) for number in range(count)]
    ranked = sorted((trial.recall_at_1 or 0.0 for trial in trials), reverse=True)
    for number, trial in enumerate(trials):
        if trial.state == "complete" and number > 4 and (trial.recall_at_1 or 0.0) < ranked[len(ranked) // 3]:
            trials[number] = _ended_early(trial, int(draws.choice([2, 6])))
    shares = dict(zip(SEARCHED, (0.18, 0.46, 0.24, 0.09, 0.03), strict=False))
    return summary_of(
        trials, name="quick", searched=SEARCHED, importances=shares, stage1_seconds=372.0,
        final_eval=[FinalEval("best", [0.462, 0.448, 0.471]), FinalEval("default", [0.421, 0.43, 0.408])],
    )  # fmt: skip


def _drawn(number: int, draws: np.random.Generator) -> Trial:
    values: dict[str, Any] = {
        "stage2.num_prototypes": int(draws.choice([8, 12, 20, 32])),
        "stage2.temperature": float(np.exp(draws.uniform(np.log(0.05), np.log(0.4)))),
        "stage2.sinkhorn_epsilon": float(np.exp(draws.uniform(np.log(0.005), np.log(0.5)))),
        "schedule.epochs_per_phase": int(draws.choice([4, 20])),
        "stage2.queue_size": int(draws.choice([0, 64])),
    }
    if values["stage2.queue_size"]:
        values["stage2.queue_start_epoch"] = int(draws.integers(0, 12))
    if number % 11 == 7:
        return trial_of(number, "failed", (), values=values, reason="diverged: the loss is not a number at step 34")
    height = 0.47 - 0.05 * abs(math.log(values["stage2.temperature"] / 0.12)) ** 2
    height -= 0.02 * abs(math.log(values["stage2.sinkhorn_epsilon"] / 0.05)) + 0.01 * (
        values["schedule.epochs_per_phase"] == 20
    )
    height += float(draws.normal(0, 0.012))
    scores = [height - 0.24 * math.exp(-epoch / 3.2) + float(draws.normal(0, 0.008)) for epoch in range(1, 13)]
    seconds = float(draws.uniform(13, 17) + 4 * (values["stage2.queue_size"] > 0))
    curve = [Score(epoch, score, *interval(score), seconds * epoch) for epoch, score in enumerate(scores, 1)]
    warned = ["prototype_collapse"] if values["stage2.num_prototypes"] == 32 and number % 5 == 0 else []
    return trial_of(number, values=values, curve=curve, recall_at_1=curve[-1].recall_at_1,
                    cost=Cost(12.0, 12 * seconds), warnings=warned)  # fmt: skip


def _ended_early(trial: Trial, epochs: int) -> Trial:
    curve = trial.curve[:epochs]
    cost = Cost(float(epochs), curve[-1].seconds)
    reason = f"worse than others after {epochs} epochs"
    return replace(trial, state="pruned", curve=curve, recall_at_1=curve[-1].recall_at_1, cost=cost, reason=reason)
