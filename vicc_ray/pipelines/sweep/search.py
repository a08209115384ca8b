"""The trials of a search, between the study that asks for them and Tune that runs them."""

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
    """The :class:`~vicc_ray.pipelines.sweep.tuner.TrialSource` of a study; what was asked and not told comes first.

    Args:
        steps_an_epoch: of the trials' training videos.
        told: is called after each trial that the study was told.
    """

    def __init__(
        self,
        plan: Sweep,
        study: SweepStudy,
        folder: SweepDir,
        steps_an_epoch: float,
        told: Callable[[], object] = lambda: None,
    ) -> None:
        self.plan, self.study, self.folder, self.steps_an_epoch = plan, study, folder, steps_an_epoch
        self.told = told
        self.again = study.unfinished()
        self.pruned: set[int] = set()
        self.total = plan.total

    @property
    def remaining(self) -> int:
        """Trials that are neither told nor handed out."""
        return max(0, self.total - len(self.study.trials)) + len(self.again)

    @property
    def ended(self) -> bool:
        """Whether all trials have been told."""
        return not self.remaining and not self.study.unfinished()

    def next(self) -> tuple[int, Path] | None:
        """The next trial; of one whose values cannot be together, the study hears at once."""
        while self.remaining:
            asked = self.again.pop(0) if self.again else self.study.ask()
            folder = self.folder.trial(asked.number)
            try:
                config = self.plan.trial(asked.values, f"{self.plan.settings.name}-{asked.number:04d}")
            except UserError as error:
                self._keep(Trial(asked.number, asked.values, "failed", str(error)))
                continue
            atomic_write(folder.config_file, dump_config(config))
            folder.write(Trial(asked.number, asked.values))
            return asked.number, folder.path
        return None

    def score(self, name: int, epoch: int, recall_at_1: float) -> bool:
        """Tell the study; whether the trial is to end."""
        if self.study.report(name, epoch, recall_at_1):
            self.pruned.add(name)
            return True
        return False

    def end(self, name: int, failure: str | None) -> None:
        """Keep what became of a trial, and tell the study; weights of one that is no candidate any more go."""
        folder = self.folder.trial(name)
        trial = folder.update(folder.read(), self.steps_an_epoch)
        if name in self.pruned:
            self._keep(replace(trial, state="pruned", reason=f"worse than others after {trial.curve[-1].epoch} epochs"))
            shutil.rmtree(folder.run.checkpoints.path, ignore_errors=True)
        elif failure is not None:  # else time is over: it goes on with the next call
            failure = failure or ("" if trial.curve else "it was never scored")
            self._keep(replace(trial, state="failed" if failure else "complete", reason=failure))

    def _keep(self, trial: Trial) -> None:
        self.folder.trial(trial.number).write(trial)
        self.study.tell(trial.number, trial.state, trial.recall_at_1, trial.cost.seconds / 60, trial.reason)
        self.told()

    def trials(self) -> list[Trial]:
        """What is known of all of them, up to now."""
        found = []
        for trial in self.folder.trials():
            running = trial.state == "running"
            found.append(self.folder.trial(trial.number).update(trial, self.steps_an_epoch) if running else trial)
        return found
