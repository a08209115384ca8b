"""Ray Tune adapter: Tune runs trials concurrently, retries lost ones and stops pruned ones.

A :class:`TrialSource` suggests trials and records their results. Tune's own experiment state does not fit: once
restored, it has lost the state of pruners, and it suggests a search's first points again.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from vicc_ray.pipelines.sweep.trial import run_trial
from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.sweep_dir import SweepDir

MAX_TRIAL_RETRIES = 8
"""Retries of a trial whose process or node was lost; it resumes from its checkpoint."""
TRIAL_CPUS = 0.001
"""Logical CPUs of a trial's own process; its training workers and decoding tasks request theirs."""


class TrialSource(Protocol):
    """Source of trials for Tune, and recorder of their results."""

    @property
    def remaining(self) -> int:
        """Number of trials not started yet."""
        ...

    def next(self) -> tuple[Any, Path] | None:
        """Name of the next trial, and its folder with a config.yaml; None after the last one."""
        ...

    def score(self, name: Any, epoch: int, recall_at_1: float) -> bool:
        """Record a score of a trial, and return whether to stop it."""
        ...

    def end(self, name: Any, failure: str | None) -> None:
        """Record the end of a trial.

        Args:
            failure: its error; "" if it completed, None if it was stopped, by pruning or by the time budget.
        """
        ...


def run_trials(source: TrialSource, store: str, folder: SweepDir, settings: SweepConfig, seconds: float | None) -> None:
    """Run all trials of a source, several at a time; after ``seconds`` running ones are stopped."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # the last report has no score
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Tune would end as if all trials had run
    # Silences warnings of missing result files (disabled on purpose), of slow callbacks (the summary is written in
    # Tune's loop) and of lost trials (the run reports its restarts).
    for name in ("analysis.experiment_analysis", "utils.util", "execution.tune_controller"):
        logging.getLogger(f"ray.tune.{name}").setLevel(logging.CRITICAL)
    tune_dir = folder.path / ".tune"
    shutil.rmtree(tune_dir, ignore_errors=True)
    params = {"store": store, "stage1": str(folder.stage1), "prunes": settings.prunes}
    searcher = SearcherAdapter(source, params)
    Tuner(
        tune.with_resources(run_trial, {"CPU": TRIAL_CPUS}),
        tune_config=TuneConfig(
            num_samples=source.remaining,
            max_concurrent_trials=settings.max_concurrent_trials,
            search_alg=searcher,
            scheduler=SchedulerAdapter(searcher),
            time_budget_s=seconds,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(tune_dir),
            failure_config=FailureConfig(max_failures=MAX_TRIAL_RETRIES),
            verbose=0,
        ),
    ).fit()
    shutil.rmtree(tune_dir, ignore_errors=True)


class SearcherAdapter(Searcher):
    """Tune searcher that suggests the trials of a source and reports their end to it."""

    def __init__(self, source: TrialSource, params: dict[str, Any]) -> None:
        super().__init__(metric="recall_at_1", mode="max")
        self.source, self.params = source, params
        self.names: dict[str, Any] = {}
        self.ended: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # FINISHED is a str
        trial = self.source.next()
        if trial is None:
            return str(Searcher.FINISHED)
        self.names[trial_id], folder = trial
        return {**self.params, "folder": str(folder)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        lost = (
            f"its process died more than {MAX_TRIAL_RETRIES} times without an error (out of memory?)" if error else None
        )
        self.source.end(self.names[trial_id], self.ended.get(trial_id, lost))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the source keeps its own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its settings; nothing here reads the copy
        return (Searcher, ())


class SchedulerAdapter(FIFOScheduler):
    """Tune scheduler that passes scores to the source and stops pruned trials."""

    def __init__(self, searcher: SearcherAdapter) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        if result.get("ended"):
            self.searcher.ended[trial.trial_id] = result["failure"]
        elif "recall_at_1" in result:
            name = self.searcher.names[trial.trial_id]
            if self.searcher.source.score(name, result["epoch"], result["recall_at_1"]):
                return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def __reduce__(self) -> tuple[Any, ...]:
        return (FIFOScheduler, ())
