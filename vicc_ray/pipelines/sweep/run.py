"""Sweep on Ray Tune: concurrent trials, each a Ray Train run; an Optuna study suggests their settings."""

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
    """Search, evaluate the best trial on the test videos, and write the results. The same call resumes a sweep.

    Args:
        store_path: clip store, shared by all trials.
        out: folder of the sweep; on a cluster, one that all nodes see.

    Returns:
        content of ``out/sweep-summary.json``.

    Raises:
        UserError: invalid settings, unusable store or folder, or failure of every trial.
    """
    plan, store, folder = Sweep(settings), ClipStore(store_path), SweepDir(out.resolve())
    task = Pretraining(plan.trial({}), store)
    if not task.has_validation:
        raise UserError(
            f"{store.location}: no labeled training videos to score trials on: label them, or raise "
            f"validation_fraction ({settings.validation_fraction:g}) so that each class has a source for it"
        )
    folder.open(settings, plan.base, store)
    with folder.lock(), ray_session(plan.base.ray), background_thread(reap_orphans):
        running = _SweepRun(plan, store, folder, len(task.videos))
        report = running.wait if progress else log
        waits = partial(report_pending_groups, report, True, ended=partial(running.wait, ""))
        showing = follow_sweep(running.search.trials, running.search.total, running.status_text, progress)
        with showing, background_thread(waits), checkpoint_on_interrupt(folder.runs):
            if running.trains:
                shortage = partial(sweep_shortage, settings, task.config, task.batch_bytes)
                wait_for_nodes(
                    shortage, sweep_bundles(settings, task.config.train), plan.base.ray.node_wait_timeout_s, report
                )
            running.wait("")
            running.run_search()
            running.run_final_eval()
        return running.publish()


class _SweepRun:
    """Running sweep: its study, its search and its final runs."""

    def __init__(self, plan: Sweep, store: ClipStore, folder: SweepDir, videos: int) -> None:
        self.plan, self.store, self.folder = plan, store, folder
        self.study = SweepStudy(folder.study_file, plan)
        self.search = Search(plan, self.study, folder, videos, on_trial_end=self.publish)
        self.final_eval: list[FinalEval] = []
        self.final_runs: FinalRuns | None = None
        self.waiting = ""

    def wait(self, text: str) -> None:
        """Record the resource that the sweep waits for, "" for none."""
        self.waiting = text

    def status_text(self) -> str:
        """Status besides the trials: a wait, the shared stage 1 or the final runs; "" for none."""
        if self.waiting:
            return f"waiting for {self.waiting}"
        if self.final_runs is not None:
            return self.final_runs.progress
        runs = [self.folder.trial(trial.number).run for trial in self.search.trials()]
        if runs and not any(run.metrics_file.exists() for run in runs):
            return "training the stage 1 that the trials share"
        return ""

    @property
    def trains(self) -> bool:
        """Whether trials (within the time budget) or final runs remain."""
        if self.search.remaining:
            return self._seconds_left() != 0.0
        last = self._final_runs()
        return last is not None and bool(last.remaining)

    def run_search(self) -> None:
        """Run the remaining trials within the time budget.

        Raises:
            UserError: all trials failed.
        """
        spent, start, left = self.folder.seconds_spent(), time.monotonic(), self._seconds_left()
        try:
            if self.search.remaining and left != 0.0:
                self._run(self.search, left)
        finally:
            self.folder.note_seconds_spent(spent + time.monotonic() - start)
        trials = self.search.trials()
        if self.search.ended and not any(trial.state == "complete" for trial in trials):
            reasons = sorted({trial.reason for trial in trials if trial.state == "failed"})
            raise UserError(f"no trial of the sweep completed (trials are in {self.folder.path}): {'; '.join(reasons)}")

    def run_final_eval(self) -> None:
        """Train the best and the default setting on fresh seeds and score them, once all trials have ended."""
        self.final_runs = self._final_runs()
        if self.final_runs is not None:
            if self.final_runs.remaining:
                self._run(self.final_runs, None)
            self.final_eval = self.final_runs.results(self.store.location)

    def publish(self) -> SweepSummary:
        """Write summary and page with the results so far."""
        summary = summarize(
            self.plan, self.study, self.folder, self.search.trials(), self.search.total, self.final_eval
        )
        write_outputs(self.plan, summary, self.folder)
        write_page(summary, self.folder.page_file)
        return summary

    def _seconds_left(self) -> float | None:
        """Time budget left for trials; None for no limit."""
        hours = self.plan.settings.budget.hours
        return None if hours is None else max(0.0, 3600 * hours - self.folder.seconds_spent())

    def _final_runs(self) -> FinalRuns | None:
        """Final runs; None before all trials have ended and where the settings ask for none."""
        if not (self.search.ended and self.plan.settings.final_eval.num_seeds):
            return None
        return FinalRuns(self.plan, self.folder, best_trial(self.search.trials()))

    def _run(self, candidates: TrialSource, seconds: float | None) -> None:
        run_trials(candidates, self.store.location, self.folder, self.plan.settings, seconds)
