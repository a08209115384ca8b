"""Pretraining run: checks of its inputs, then Ray Train. The same command resumes it."""

from __future__ import annotations

from pathlib import Path

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.pipelines.train.launcher import launch_training
from vicc_ray.runs.initial_checkpoint import (
    record_initial_checkpoint,
    require_remaining_epochs,
    resolve_initial_checkpoint,
)
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.stage_times import stage_timer
from vicc_ray.training.tasks.pretraining import Pretraining
from vicc_ray.training.trackers import check_trackers
from vicc_ray.training.validation.evaluator import validation_skip_reason
from vicc_ray.utils.console import Console


def pretrain(
    config: Config,
    store_path: Path | str,
    run_dir: Path,
    start_from: Path | None = None,
    progress: bool = True,
    pause_for_pruning: bool = False,
) -> Path:
    """Train to the end of the schedule, from the newest checkpoint in ``run_dir`` if there is one.

    Args:
        store_path: clip store, a folder or an address in a bucket.
        start_from: initial checkpoint of a new run, a folder of another run: weights and position. Settings may differ.
        pause_for_pruning: pause after each validation until the sweep has decided by its score whether to continue
            (`RunDir.pause_file`).

    Returns:
        checkpoint of the last phase.

    Raises:
        UserError: invalid settings, unusable store or run folder, or failed training.
    """
    check_trackers(config.train.trackers)
    store, folder = ClipStore(store_path), RunDir(run_dir)
    task = Pretraining(config, store)  # checks the settings before anything is written
    folder.check(config, inputs=task.inputs)
    start = resolve_initial_checkpoint(folder, start_from)
    if start is not None:
        require_remaining_epochs(start, task.phases[-1].last_epoch)
    folder.open(config, inputs=task.inputs)
    record_initial_checkpoint(folder, start)
    if note := validation_skip_reason(store.entries, config):
        Console(progress).print_line(note)
    with stage_timer(run_dir, "pretraining"):
        return launch_training(task, folder, Path(start.checkpoint) if start else None, progress, pause_for_pruning)
