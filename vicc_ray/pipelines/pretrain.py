"""The alternating run on Ray Train: checks, starts the workers, shows progress; the same command goes on with a run."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from ray.exceptions import RayActorError
from ray.train.torch import TorchConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.leftovers import release_places
from vicc_ray.pipelines.local_ray import ray_session
from vicc_ray.pipelines.pretrain_worker import Job, train_worker
from vicc_ray.pipelines.progress import follow_run
from vicc_ray.pipelines.ray_errors import first_line, last_line, user_error_in
from vicc_ray.pipelines.resources import WorkerResources, worker_resources
from vicc_ray.pipelines.validation import validation
from vicc_ray.training.checkpoint import read_state
from vicc_ray.training.device import KEPT_MEMORY
from vicc_ray.training.plan import Plan
from vicc_ray.training.run_folder import RunFolder
from vicc_ray.training.schedule import turns
from vicc_ray.training.shares import share_sizes
from vicc_ray.training.trackers import check_trackers
from vicc_ray.video.store import ClipStore

HEALTH_CHECK_S = "0.5"
"""How often Ray Train's controller looks at its workers; a report waits for such a look (2 s by default)."""
START_TIMEOUT_S = "30"
"""How long a start waits for its workers' places: after a machine was lost, Ray may count it for a while."""


def pretrain(
    config: Config, store_path: Path | str, run_dir: Path, start_from: Path | None = None, progress: bool = True
) -> Path:
    """Train until the schedule ends, from the newest checkpoint in ``run_dir`` if there is one.

    Args:
        store_path: a prepared clip store, or its address in a bucket.
        start_from: checkpoint folder of another run from which a new run takes weights and place; settings may differ.

    Returns:
        the checkpoint of the last turn.

    Raises:
        UserError: settings, store or run folder cannot be used, or training failed.
    """
    folder = RunFolder(run_dir)
    planned = turns(config.schedule)
    check_trackers(config.train.trackers)
    store = ClipStore(store_path)
    steps = _check(config, store).first_step(planned[-1].last_epoch)
    if start_from is not None:
        read_state(start_from)
    folder.open(config)
    with folder.writing():  # refused here at once rather than in the workers, which hold this lock while they train
        folder.checkpoints.clear_rests()
    last = folder.turn_checkpoint(planned[-1].index, planned[-1].name)
    if folder.step >= steps:
        return last
    with (
        ray_session(config.ray),
        follow_run(folder, steps, progress),
    ):
        _fit(config, store, folder, start_from)
    folder.checkpoints.clear_rests()
    if folder.failure_file.exists():
        raise UserError(folder.failure_file.read_text())
    return last


def _check(config: Config, store: ClipStore) -> Plan:
    """The plan, once settings and store are known to fit."""
    share_sizes(config.train.batch, config.train.workers.max)
    if config.method.queue % config.train.batch:
        raise UserError(
            f"method.queue: {config.method.queue} given; "
            f"it must be 0 or a multiple of train.batch ({config.train.batch})"
        )
    return Plan(len(store.entries.for_training), config.train.batch, config.seed)


def _fit(config: Config, store: ClipStore, folder: RunFolder, start_from: Path | None) -> None:
    """Train until it ends. Ray Train begins its workers anew as often as needed; its controller is begun anew here."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", HEALTH_CHECK_S)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_TIMEOUT_S)
    resources = worker_resources(config)
    job = Job(
        config=config.model_dump(mode="json"),
        store=store.location,
        run=str(folder.path.resolve()),
        start_from=str(start_from.resolve()) if start_from else None,
        worker_cpus=resources.cpus,
        threads=resources.threads,
    )
    lost = 0
    while True:
        step = folder.step
        try:
            _trainer(config, job, resources, folder).fit()
            return
        except TrainingFailedError as error:
            raise user_error_in(error) or UserError(
                f"training failed: {_reason(error)}. The run is kept in {folder.path}"
            ) from error
        except RayActorError as error:
            release_places()
            lost = lost + 1 if folder.step == step else 0
            if lost > config.train.max_failures:
                raise UserError(
                    f"training failed: Ray Train's controller ended {lost} times in a row ({first_line(error)}). "
                    f"The run is kept in {folder.path}: the same command goes on with it"
                ) from error


def _trainer(config: Config, job: Job, resources: WorkerResources, folder: RunFolder) -> TorchTrainer:
    workers = config.train.workers
    return TorchTrainer(
        train_worker,
        train_loop_config=asdict(job),
        scaling_config=ScalingConfig(
            num_workers=(workers.min, workers.max) if workers.elastic else workers.max,
            use_gpu=resources.use_gpu,
            resources_per_worker=resources.as_dict(),
            elastic_resize_monitor_interval_s=config.train.resize_s,
        ),
        torch_config=TorchConfig(backend="nccl" if resources.use_gpu else "gloo"),
        run_config=RunConfig(
            name="train",
            storage_path=str(folder.path.resolve() / "ray"),
            # Without limit: the workers themselves give up where a run gets nowhere (train.max_failures).
            failure_config=FailureConfig(max_failures=-1),
            worker_runtime_env={} if resources.use_gpu else {"env_vars": KEPT_MEMORY},
        ),
        validation_config=validation(folder.path.resolve(), job.store),
    )


def _reason(error: TrainingFailedError) -> str:
    """What went wrong in the first worker that failed, or in what Ray Train says of itself."""
    failures = getattr(error, "worker_failures", {})
    return last_line(next(iter(failures.values()), error))
