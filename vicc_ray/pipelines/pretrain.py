"""The alternating run on Ray Train: checks, starts the workers, shows progress; the same command goes on with a run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from vicc_ray.config import Config, Stream
from vicc_ray.errors import UserError
from vicc_ray.pipelines.ingest import BATCHES_AHEAD
from vicc_ray.pipelines.local_ray import ray_session
from vicc_ray.pipelines.pretrain_worker import Job, train_worker
from vicc_ray.pipelines.progress import follow_run
from vicc_ray.pipelines.ray_errors import user_error_in
from vicc_ray.training.batch_maker import sample_bytes
from vicc_ray.training.checkpoint import read_state
from vicc_ray.training.plan import Plan
from vicc_ray.training.run_folder import RunFolder
from vicc_ray.training.schedule import turns
from vicc_ray.training.trackers import check_trackers
from vicc_ray.video.store import ClipStore

STORE_SHARE = 0.6
"""Share of the object store for batches that are decoded ahead; the rest is Ray's own and what is being made."""
HEALTH_CHECK_S = "0.5"
"""How often Ray Train's controller looks at its workers; a report waits for such a look (2 s by default)."""


@dataclass(frozen=True)
class Resources:
    """How the CPUs of the cluster are shared between training and decoding."""

    use_gpu: bool
    worker_cpus: float
    decode_cpus: float
    decode_memory: int
    threads: int


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
        pass
    last = folder.turn_checkpoint(planned[-1].index, planned[-1].name)
    newest = folder.newest()
    if newest is not None and read_state(newest)["step"] >= steps:
        return last
    with (
        ray_session(config.ray),
        follow_run(folder, steps, progress),
    ):
        _fit(config, store, folder, start_from)
    if folder.failure_file.exists():
        raise UserError(folder.failure_file.read_text())
    return last


def _check(config: Config, store: ClipStore) -> Plan:
    """The plan, once settings and store are known to fit."""
    if config.train.batch % config.train.workers:
        raise UserError(
            f"train.workers: {config.train.workers} given; it must divide train.batch ({config.train.batch}), "
            "since all workers take equal shares of the global batch"
        )
    if config.method.queue % config.train.batch:
        raise UserError(
            f"method.queue: {config.method.queue} given; "
            f"it must be 0 or a multiple of train.batch ({config.train.batch})"
        )
    return Plan(len(store.entries.for_training), config.train.batch, config.seed)


def _fit(config: Config, store: ClipStore, folder: RunFolder, start_from: Path | None) -> None:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", HEALTH_CHECK_S)
    shared = share_resources(config)
    job = Job(
        config=config.model_dump(mode="json"),
        store=store.location,
        run=str(folder.path.resolve()),
        start_from=str(start_from.resolve()) if start_from else None,
        decode_cpus=shared.decode_cpus,
        decode_memory=shared.decode_memory,
        threads=shared.threads,
    )
    workers = config.train.workers
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=asdict(job),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=shared.use_gpu, resources_per_worker=_worker_resources(shared)
        ),
        torch_config=TorchConfig(backend="nccl" if shared.use_gpu else "gloo"),
        run_config=RunConfig(
            name="train",
            storage_path=str(folder.path.resolve() / "ray"),
            failure_config=FailureConfig(max_failures=config.train.max_failures),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise user_error_in(error) or UserError(
            f"training failed: {_reason(error)}. The run is kept in {folder.path}"
        ) from error


def _worker_resources(shared: Resources) -> dict[str, float]:
    return {"CPU": shared.worker_cpus, **({"GPU": 1.0} if shared.use_gpu else {})}


def share_resources(config: Config) -> Resources:
    """Split the cluster's CPUs so that decoding always gets some: workers that hold all would wait for data for ever.

    Raises:
        UserError: GPUs are asked for and there are too few, or the object store does not hold two batches of a worker.
    """
    total = ray.cluster_resources()
    cpus, gpus = float(total.get("CPU", 1)), float(total.get("GPU", 0))
    workers = config.train.workers
    use_gpu = config.train.use_gpu == "yes" or (config.train.use_gpu == "auto" and gpus >= workers)
    if use_gpu and gpus < workers:
        raise UserError(
            f"train.use_gpu: yes given for {workers} workers, but Ray sees {gpus:g} GPUs; "
            "lower train.workers or set train.use_gpu=no"
        )
    # Half of the CPUs train where there is no GPU: more threads than that compete with decoding, and a step of the demo
    # took 0.50 s on two cores with two threads against 0.33 s with one.
    worker_cpus = min(1.0, cpus / (2 * workers)) if use_gpu else cpus / (2 * workers)
    decode_cpus = (cpus - workers * worker_cpus) / workers
    memory = int(STORE_SHARE * float(total.get("object_store_memory", 0)) / workers)
    _check_memory(config, memory)
    return Resources(use_gpu, worker_cpus, decode_cpus, memory, max(1, int(worker_cpus)))


def _check_memory(config: Config, memory: int) -> None:
    """Two batches of a worker must fit into its part of the object store, or every one would go over the disk."""
    streams: tuple[Stream, ...] = (
        ("rgb", "flow") if config.schedule.cycles and config.schedule.cross_stream else ("rgb",)
    )
    share = config.train.batch // config.train.workers
    needed = BATCHES_AHEAD * share * sample_bytes(config.clip, streams)
    if needed > memory:
        enough = -(-int(needed * config.train.workers / STORE_SHARE) // 2**20)
        raise UserError(
            f"ray.object_store_mb: too small for two batches of each worker ({BATCHES_AHEAD} x {share} samples, "
            f"{needed / 2**20:.0f} MiB, and {memory / 2**20:.0f} MiB are there for it); set it to {enough} or more "
            "(a running cluster: its --object-store-memory), or lower train.batch, clip.frames or clip.size"
        )


def _reason(error: BaseException) -> str:
    """The last line of the innermost cause: what went wrong in the worker."""
    failures = getattr(error, "worker_failures", {})
    first = next(iter(failures.values()), error)
    lines = [line for line in str(first).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(first).__name__
