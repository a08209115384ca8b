"""Launcher of a :class:`~vicc_ray.training.tasks.base.Task` on Ray Train: starts and restarts its workers."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.errors import first_line, last_line, user_error_in
from vicc_ray.pipelines.cluster.loopback_process_group import LoopbackTorchConfig
from vicc_ray.pipelines.cluster.loopback_session import is_loopback_session
from vicc_ray.pipelines.cluster.node_watch import record_lost_nodes
from vicc_ray.pipelines.cluster.orphans import reap_orphans
from vicc_ray.pipelines.cluster.placement_waits import report_pending_groups
from vicc_ray.pipelines.cluster.ray_compat import trainer_class
from vicc_ray.pipelines.cluster.resource_check import training_bundles, training_shortage, worker_resources
from vicc_ray.pipelines.cluster.resources import WorkerResources
from vicc_ray.pipelines.cluster.session import owns_session, ray_session
from vicc_ray.pipelines.cluster.task_waits import log
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter, wait_for_nodes
from vicc_ray.pipelines.train.interrupt_checkpoint import checkpoint_on_interrupt
from vicc_ray.pipelines.train.progress import follow_run
from vicc_ray.pipelines.train.validation import validation_config
from vicc_ray.pipelines.train.worker import WorkerConfig, train_worker
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.training.distributed.local_batch_norm import local_batch_norm_note
from vicc_ray.training.tasks.base import Task
from vicc_ray.utils.background_thread import background_thread
from vicc_ray.utils.console import Console

HEALTH_CHECK_INTERVAL_S = "0.5"
"""Poll interval of Ray Train's controller (2 s by default); a worker's report waits for the next poll."""
START_TIMEOUT_S = "30"
"""Timeout of a start for its placement group: Ray may count a lost node for a while."""


def launch_training(
    task: Task,
    folder: RunDir,
    start_from: Path | None = None,
    progress: bool = True,
    pause_for_pruning: bool = False,
) -> Path:
    """Train to the end of the last phase, from the newest checkpoint in ``folder`` if there is one.

    Args:
        folder: run folder, already opened.
        start_from: initial checkpoint of a new run, a folder of another run: weights and position.
        pause_for_pruning: pause after each validation until the sweep has decided by its score whether to continue
            (`RunDir.pause_file`).

    Returns:
        checkpoint of the last phase.

    Raises:
        UserError: another process trains in the folder, or training failed.
    """
    with folder.writing():  # fails here at once, not in the workers, which hold this lock while they train
        folder.checkpoints.clean_partial()
    phase = task.phases[-1]
    last = folder.phase_checkpoint(phase.index, phase.name)
    if folder.step >= task.sampler.first_step(phase.last_epoch) and not folder.checkpoints.pending_validation(
        last.name
    ):
        return last
    if note := local_batch_norm_note(task.config.train):
        Console(progress).print_line(note)
    report = folder.restarts.record_wait if progress else partial(_record_and_log, folder)
    with (
        ray_session(task.config.ray),
        background_thread(partial(record_lost_nodes, folder.restarts)),
        background_thread(reap_orphans),
        background_thread(partial(report_pending_groups, report, False)),
        follow_run(folder, task, progress),
        checkpoint_on_interrupt(lambda: [folder]),
    ):
        _fit(task, folder, start_from, pause_for_pruning, report)
    folder.checkpoints.clean_partial()
    if folder.fatal_error_file.exists():
        raise UserError(folder.fatal_error_file.read_text())
    folder.checkpoints.finish(task.config.train.keep_last)
    return last


def _record_and_log(folder: RunDir, text: str) -> None:
    """Record a wait, and log it, since no progress display shows it."""
    folder.restarts.record_wait(text)
    log(text)


def _fit(task: Task, folder: RunDir, start_from: Path | None, pause_for_pruning: bool, report: Reporter) -> None:
    """Train to the end. Ray Train restarts failed workers; this function restarts Ray Train's controller."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", HEALTH_CHECK_INTERVAL_S)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_TIMEOUT_S)
    config = task.config
    request = (config.train, config.ray.share, task.batch_bytes)
    wait_for_nodes(
        partial(training_shortage, *request), training_bundles(config.train), config.ray.node_wait_timeout_s, report
    )
    resources = worker_resources(*request)
    job = WorkerConfig(
        task=task.kind,
        config=config.model_dump(mode="json"),
        store=task.store.location,
        run=str(folder.path.resolve()),
        start_from=str(start_from.resolve()) if start_from else None,
        command=secrets.token_hex(4),
        cpus_per_worker=resources.cpus,
        threads=resources.threads,
        pause_for_pruning=pause_for_pruning,
        cpus_are_shared=not owns_session(),
    )
    failures = 0
    while True:
        step = folder.step
        try:
            _trainer(config, job, resources, folder).fit()
            return
        except TrainingFailedError as error:
            raise user_error_in(error) or UserError(
                f"training failed: {_reason(error)}. Checkpoints remain in {folder.path}"
            ) from error
        except RayActorError as error:
            failures = failures + 1 if folder.step == step else 0
            if failures > config.train.max_restarts_without_progress:
                raise UserError(
                    f"training failed: Ray Train's controller died {failures} times in a row at step {step} "
                    f"({first_line(error)}). Checkpoints remain in {folder.path}; the same command resumes the run"
                ) from error


def _trainer(config: Config, job: WorkerConfig, resources: WorkerResources, folder: RunDir) -> Any:
    workers = config.train.num_workers
    group = LoopbackTorchConfig if is_loopback_session() else TorchConfig
    scaling: dict[str, Any] = {  # Ray's type hints describe its older trainer
        "num_workers": (workers.min, workers.max) if workers.elastic else workers.max,
        "use_gpu": resources.use_gpu,
        "resources_per_worker": resources.as_dict(),
        "elastic_resize_monitor_interval_s": config.train.elastic_resize_interval_s,
    }
    return trainer_class()(
        train_worker,
        train_loop_config=asdict(job),
        scaling_config=ScalingConfig(**scaling),
        torch_config=group(backend="nccl" if resources.use_gpu else "gloo"),
        run_config=RunConfig(
            name="train",
            storage_path=str(folder.path.resolve() / "ray"),
            # No limit: the workers themselves abort a run without progress (train.max_restarts_without_progress).
            failure_config=FailureConfig(max_failures=-1),
        ),
        validation_config=validation_config(folder.path.resolve(), job.store, resources.spare),
    )


def _reason(error: TrainingFailedError) -> str:
    """Error of the first failed worker, or of Ray Train itself."""
    failures = getattr(error, "worker_failures", {})
    return last_line(next(iter(failures.values()), error))
