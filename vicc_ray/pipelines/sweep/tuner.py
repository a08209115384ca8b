"""Ray Tune as it is used here: it starts what it is given, so many at a time, repeats what is lost, stops what is told.

What is tried, and what became of it, is kept by :class:`TrialSource`, not by Tune: Tune's own memory of an experiment
forgets on a new start what pruners had seen, and hands a search its first points again.
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
"""How often a trial is begun again whose process or machine was lost; what it has trained so far is kept."""
TRIAL_CPUS = 0.001
"""Logical CPUs of the process that watches over a trial: what trains and decodes asks for its own."""


class TrialSource(Protocol):
    """What is to be run."""

    @property
    def remaining(self) -> int:
        """How many there are still to come."""
        ...

    def next(self) -> tuple[Any, Path] | None:
        """The next one's name, and its folder with a config.yaml; None if there is none any more."""
        ...

    def score(self, name: Any, epoch: int, recall_at_1: float) -> bool:
        """One of them has a score; whether it is to be stopped."""
        ...

    def end(self, name: Any, failure: str | None) -> None:
        """One of them has ended: ``failure`` tells why it could not go on, "" that it has come to its end, None that it
        was stopped, since it was to be or since time is over.
        """
        ...


def run_trials(
    candidates: TrialSource, store: str, folder: SweepDir, settings: SweepConfig, seconds: float | None
) -> None:
    """Run all of them, so many at a time; after ``seconds`` those that run are left as they are."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # the last report has no score
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Tune would end as if all had been tried
    # There are no result files, as wished; a summary is written within Tune's loop, which it finds slow; and a
    # trial whose machine or process was lost is repeated, which its run tells of.
    for name in ("analysis.experiment_analysis", "utils.util", "execution.tune_controller"):
        logging.getLogger(f"ray.tune.{name}").setLevel(logging.CRITICAL)
    own = folder.path / ".tune"
    shutil.rmtree(own, ignore_errors=True)
    given = {"store": store, "stage1": str(folder.stage1), "prunes": settings.prunes}
    asking = SearcherAdapter(candidates, given)
    Tuner(
        tune.with_resources(run_trial, {"CPU": TRIAL_CPUS}),
        tune_config=TuneConfig(
            num_samples=candidates.remaining,
            max_concurrent_trials=settings.max_concurrent_trials,
            search_alg=asking,
            scheduler=SchedulerAdapter(asking),
            time_budget_s=seconds,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(own),
            failure_config=FailureConfig(max_failures=MAX_TRIAL_RETRIES),
            verbose=0,
        ),
    ).fit()
    shutil.rmtree(own, ignore_errors=True)


class SearcherAdapter(Searcher):
    """Hands Tune the candidates, and hears from it what has ended."""

    def __init__(self, candidates: TrialSource, given: dict[str, Any]) -> None:
        super().__init__(metric="recall_at_1", mode="max")
        self.candidates, self.given = candidates, given
        self.names: dict[str, Any] = {}
        self.ended: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # FINISHED is a str
        following = self.candidates.next()
        if following is None:
            return str(Searcher.FINISHED)
        self.names[trial_id], folder = following
        return {**self.given, "folder": str(folder)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        lost = "its process ended again and again without a word (out of memory?)" if error else None
        self.candidates.end(self.names[trial_id], self.ended.get(trial_id, lost))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the candidates are kept elsewhere."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""

    def __reduce__(self) -> tuple[Any, ...]:  # Tune keeps a copy of its settings, which nothing reads here
        return (Searcher, ())


class SchedulerAdapter(FIFOScheduler):
    """Passes scores on, and stops what is to be stopped."""

    def __init__(self, asking: SearcherAdapter) -> None:
        super().__init__()
        self.asking = asking

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        if result.get("ended"):
            self.asking.ended[trial.trial_id] = result["failure"]
        elif "recall_at_1" in result:
            name = self.asking.names[trial.trial_id]
            if self.asking.candidates.score(name, result["epoch"], result["recall_at_1"]):
                return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def __reduce__(self) -> tuple[Any, ...]:
        return (FIFOScheduler, ())
