"""A sweep on Ray Tune: trials side by side, each with a Ray Train run inside; the study decides what is tried."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.orphans import reap_orphans
from vicc_ray.pipelines.cluster.placement_waits import report_pending_groups
from vicc_ray.pipelines.cluster.resource_check import sweep_bundles, sweep_shortage
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.task_waits import log
from vicc_ray.pipelines.cluster.wait_for_nodes import wait_for_nodes
from vicc_ray.pipelines.sweep.final_eval import FinalRuns
from vicc_ray.pipelines.sweep.search import Search
from vicc_ray.pipelines.sweep.tuner import TrialSource, run_trials
from vicc_ray.pipelines.train.interrupt_checkpoint import checkpoint_on_interrupt
from vicc_ray.reports.sweep import write_page
from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.live_table import follow_sweep
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.outputs import summarize, write_outputs
from vicc_ray.sweep.results import FinalEval, SweepSummary, best_trial
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.sweep.trial_config import Sweep
from vicc_ray.training.tasks.pretraining import Pretraining
from vicc_ray.utils.background_thread import background_thread


def run_sweep(settings: SweepConfig, store_path: Path | str, out: Path, progress: bool = True) -> SweepSummary:
    """Search, judge what was found on the test videos, and tell it; the same call goes on with a sweep.

    Args:
        store_path: a prepared clip store, which all trials share.
        out: the sweep's folder; on a cluster, where all machines see it.

    Returns:
        what is in ``out/sweep-summary.json``.

    Raises:
        UserError: settings, store or folder cannot be used, or every trial failed.
    """
    plan, store, folder = Sweep(settings), ClipStore(store_path), SweepDir(out.resolve())
    task = Pretraining(plan.trial({}), store)
    if not task.has_validation:
        raise UserError(
            f"{store.location}: no labelled training videos to score trials on: label them, or raise "
            f"validation_share ({settings.validation_fraction:g}) so that each class has a source for it"
        )
    folder.open(settings, plan.base, store)
    with folder.lock(), ray_session(plan.base.ray), background_thread(reap_orphans):
        running = _SweepRun(plan, store, folder, task.sampler.steps_per_epoch)
        tell = running.wait if progress else log
        waits = partial(report_pending_groups, tell, True, ended=partial(running.wait, ""))
        showing = follow_sweep(running.search.trials, running.search.total, running.doing, progress)
        with showing, background_thread(waits), checkpoint_on_interrupt(folder.runs):
            if running.trains:
                lack = partial(sweep_shortage, settings, task.config, task.batch_bytes)
                wait_for_nodes(
                    lack, sweep_bundles(settings, task.config.train), plan.base.ray.node_wait_timeout_s, tell
                )
            running.wait("")
            running.find()
            running.judge()
        return running.publish()


class _SweepRun:
    """A sweep while it runs."""

    def __init__(self, plan: Sweep, store: ClipStore, folder: SweepDir, steps_an_epoch: float) -> None:
        self.plan, self.store, self.folder = plan, store, folder
        self.study = SweepStudy(folder.study_file, plan)
        self.search = Search(plan, self.study, folder, steps_an_epoch, told=self.publish)
        self.final_eval: list[FinalEval] = []
        self.last: FinalRuns | None = None
        self.waiting = ""

    def wait(self, text: str) -> None:
        """Note what is waited for, "" if nothing is."""
        self.waiting = text

    def doing(self) -> str:
        """What is waited for, or goes on before the first trial and after the last one, "" in between."""
        if self.waiting:
            return f"waiting for {self.waiting}"
        if self.last is not None:
            return self.last.progress
        runs = [self.folder.trial(trial.number).run for trial in self.search.trials()]
        if runs and not any(run.metrics_file.exists() for run in runs):
            return "the stage 1 that the trials share is trained"
        return ""

    @property
    def trains(self) -> bool:
        """Whether trials or last runs are left, for which there is time."""
        if self.search.remaining:
            return self._seconds_left() != 0.0
        last = self._last_runs()
        return last is not None and bool(last.remaining)

    def find(self) -> None:
        """Make the trials that are left, as far as time allows.

        Raises:
            UserError: all of them failed.
        """
        spent, begun, left = self.folder.seconds_spent(), time.monotonic(), self._seconds_left()
        try:
            if self.search.remaining and left != 0.0:
                self._run(self.search, left)
        finally:
            self.folder.note_seconds_spent(spent + time.monotonic() - begun)
        trials = self.search.trials()
        if self.search.ended and not any(trial.state == "complete" for trial in trials):
            reasons = sorted({trial.reason for trial in trials if trial.state == "failed"})
            raise UserError(
                f"no trial of the sweep came to its end (they are in {self.folder.path}): {'; '.join(reasons)}"
            )

    def judge(self) -> None:
        """Train with what was found and with the default setting on fresh seeds, once all trials have ended."""
        self.last = self._last_runs()
        if self.last is not None:
            if self.last.remaining:
                self._run(self.last, None)
            self.final_eval = self.last.results(self.store.location)

    def publish(self) -> SweepSummary:
        """Write down what is known by now."""
        summary = summarize(
            self.plan, self.study, self.folder, self.search.trials(), self.search.total, self.final_eval
        )
        write_outputs(self.plan, summary, self.folder)
        write_page(summary, self.folder.page_file)
        return summary

    def _seconds_left(self) -> float | None:
        """For trials; None: as many as they take."""
        hours = self.plan.settings.budget.hours
        return None if hours is None else max(0.0, 3600 * hours - self.folder.seconds_spent())

    def _last_runs(self) -> FinalRuns | None:
        """None before all trials have ended, and where there are to be none."""
        if not (self.search.ended and self.plan.settings.final_eval.num_seeds):
            return None
        return FinalRuns(self.plan, self.folder, best_trial(self.search.trials()))

    def _run(self, candidates: TrialSource, seconds: float | None) -> None:
        run_trials(candidates, self.store.location, self.folder, self.plan.settings, seconds)
