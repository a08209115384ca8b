"""Trials of a search: suggested by the Optuna study, run by Tune, and recorded in the sweep's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vicc_ray.config.loader import dump_config
from vicc_ray.errors import UserError
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.sweep.trial import Trial
from vicc_ray.sweep.trial_config import Sweep
from vicc_ray.utils.fs import atomic_write


class Search:
    """Source of a study's trials (a :class:`~vicc_ray.pipelines.sweep.tuner.TrialSource`); unfinished ones come first.

    Args:
        videos: number of the trials' training videos.
        on_trial_end: called after each trial that the study has recorded.
    """

    def __init__(
        self,
        plan: Sweep,
        study: SweepStudy,
        folder: SweepDir,
        videos: int,
        on_trial_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.plan, self.study, self.folder, self.videos = plan, study, folder, videos
        self.on_trial_end = on_trial_end
        self.unfinished = study.unfinished()
        self.pruned: set[int] = set()
        self.total = plan.total

    @property
    def remaining(self) -> int:
        """Trials neither recorded nor started."""
        return max(0, self.total - len(self.study.trials)) + len(self.unfinished)

    @property
    def ended(self) -> bool:
        """Whether the study has recorded all trials."""
        return not self.remaining and not self.study.unfinished()

    def next(self) -> tuple[int, Path] | None:
        """Next trial; one with conflicting values is recorded as failed at once."""
        while self.remaining:
            suggestion = self.unfinished.pop(0) if self.unfinished else self.study.ask()
            folder = self.folder.trial(suggestion.number)
            try:
                config = self.plan.trial(suggestion.values, f"{self.plan.settings.name}-{suggestion.number:04d}")
            except UserError as error:
                self._record(Trial(suggestion.number, suggestion.values, "failed", str(error)))
                continue
            atomic_write(folder.config_file, dump_config(config))
            folder.write(Trial(suggestion.number, suggestion.values))
            return suggestion.number, folder.path
        return None

    def score(self, name: int, epoch: int, recall_at_1: float) -> bool:
        """Report a score to the study, and return whether to prune the trial."""
        if self.study.report(name, epoch, recall_at_1):
            self.pruned.add(name)
            return True
        return False

    def end(self, name: int, failure: str | None) -> None:
        """Record the end of a trial; checkpoints of a pruned one are removed."""
        folder = self.folder.trial(name)
        trial = folder.update(folder.read(), self.videos)
        if name in self.pruned:
            self._record(
                replace(trial, state="pruned", reason=f"worse than others after {trial.curve[-1].epoch} epochs")
            )
            shutil.rmtree(folder.run.checkpoints.path, ignore_errors=True)
        elif failure is not None:  # else the time budget is used up: the next call resumes it
            failure = failure or ("" if trial.curve else "it ended without a validation score")
            self._record(replace(trial, state="failed" if failure else "complete", reason=failure))

    def _record(self, trial: Trial) -> None:
        self.folder.trial(trial.number).write(trial)
        self.study.tell(trial.number, trial.state, trial.recall_at_1, trial.cost.seconds / 60, trial.reason)
        self.on_trial_end()

    def trials(self) -> list[Trial]:
        """All trials, with the results so far of running ones."""
        trials = []
        for trial in self.folder.trials():
            running = trial.state == "running"
            trials.append(self.folder.trial(trial.number).update(trial, self.videos) if running else trial)
        return trials
