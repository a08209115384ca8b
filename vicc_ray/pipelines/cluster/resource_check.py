"""Resource check of a training or a sweep: a shortage is reported with the setting to change."""

from __future__ import annotations

import math

from vicc_ray.config import Config, TrainConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.capacity import (
    NO_CPUS_YET,
    STORE,
    ClusterCapacity,
    cluster_capacity,
    format_resources,
)
from vicc_ray.pipelines.cluster.resources import (
    MIN_DECODE_CPUS,
    STORE_FRACTION,
    WorkerResources,
    max_cpus_left,
    size_workers,
    workers_at_once,
)
from vicc_ray.pipelines.train.loader import BATCHES_AHEAD
from vicc_ray.sweep.config import SweepConfig

ROUNDING = 1e-6
"""Tolerance of sums of CPUs."""


def worker_resources(train: TrainConfig, share: float, batch_bytes: int) -> WorkerResources:
    """Resources of each worker that leave some for decoding: workers that hold all would wait for data forever.

    Args:
        share: fraction of the cluster that this training may use (``ray.share``).
        batch_bytes: bytes of the clips of a global batch.

    Raises:
        UserError: see :func:`training_shortage`.
    """
    cluster = cluster_capacity()
    if lack := training_shortage(train, share, batch_bytes, cluster):
        raise UserError(lack)
    return size_workers(train, share, cluster)


def training_shortage(train: TrainConfig, share: float, batch_bytes: int, cluster: ClusterCapacity) -> str:
    """Shortage for ``train.num_workers.min`` workers and their decoding, "" if none.

    Arguments as of :func:`worker_resources`.
    """
    gpus = train.num_workers.min * train.gpus_per_worker
    if train.use_gpu == "yes" and cluster.places({"GPU": train.gpus_per_worker}) < train.num_workers.min:
        return (
            f"GPUs: {cluster.total('GPU'):g} of the {gpus:g} that {train.num_workers} workers take (train.use_gpu: "
            f"yes given)"
            "; lower train.num_workers or set train.use_gpu=no"
        )
    if not cluster.total("CPU"):
        return NO_CPUS_YET
    resources = size_workers(train, share, cluster)
    return (
        _worker_shortage(train, resources, cluster)
        or _decode_shortage(train, resources, share, cluster)
        or _memory_shortage(train, resources, share, batch_bytes, cluster)
    )


def training_bundles(train: TrainConfig) -> list[dict[str, float]]:
    """Bundles to request from an autoscaler for a training: its workers, and one for decoding."""
    gpus = {"GPU": train.gpus_per_worker} if train.use_gpu == "yes" else {}
    return [{"CPU": 1.0}, *[{"CPU": train.cpus_per_worker or 1.0, **gpus}] * train.num_workers.min]


def sweep_bundles(settings: SweepConfig, trial: TrainConfig) -> list[dict[str, float]]:
    """Bundles to request for the concurrent trials of a sweep: their trainings, and the other CPUs one by one."""
    bundles = training_bundles(trial)
    left = settings.resources_per_trial.cpus - sum(bundle["CPU"] for bundle in bundles)
    return [*bundles, *[{"CPU": 1.0}] * math.ceil(max(0.0, left))] * settings.max_concurrent_trials


def sweep_shortage(settings: SweepConfig, trial: Config, batch_bytes: int, cluster: ClusterCapacity) -> str:
    """Shortage for a sweep, "" if none.

    Workers that hold all CPUs would wait for their decoding forever, so the CPUs of all concurrent trials must exist.
    Trials that find no free GPU start later: one of them must fit.

    Args:
        trial: settings of a trial.
    """
    trial_resources = settings.resources_per_trial
    if settings.max_concurrent_trials * trial_resources.cpus > (cpus := cluster.total("CPU")):
        return (
            f"resources_per_trial.cpus: {trial_resources.cpus:g} given for each of "
            f"{settings.max_concurrent_trials} concurrent trials (max_concurrent_trials), and the nodes have "
            f"{cpus:g} CPUs; lower one of the two, or set resources_per_trial.cpus to 0"
        )
    if trial_resources.gpus > (gpus := cluster.total("GPU")):
        return (
            f"resources_per_trial.gpus: {trial_resources.gpus:g} given for each trial, and the nodes have {gpus:g} "
            "GPUs; lower it, or set it to 0"
        )
    lack = training_shortage(trial.train, trial.ray.share, batch_bytes, cluster)
    if lack and trial_resources.cpus:
        return f"resources_per_trial.cpus: {trial_resources.cpus:g} given for each trial, half of which trains. {lack}"
    return lack


def _worker_shortage(train: TrainConfig, resources: WorkerResources, cluster: ClusterCapacity) -> str:
    """Shortage of a node for each worker."""
    gpus = {"GPU": resources.gpus} if resources.use_gpu else {}
    largest = cluster.largest("CPU", gpus)
    if resources.cpus > largest:
        with_gpu = " with a GPU for it" if gpus else ""
        return (
            f"train.cpus_per_worker: {resources.cpus:g} CPUs for a worker, and the largest node{with_gpu} has "
            f"{largest:g}; lower it so that something is left for decoding, or set it to 0: half of the CPUs"
        )
    room = cluster.places(resources.as_dict())
    if room < train.num_workers.min:
        return (
            f"train.num_workers: {train.num_workers} given with {format_resources(resources.as_dict())} each, and "
            f"the nodes "
            f"have room for {room}; lower it or train.cpus_per_worker ({train.cpus_per_worker:g}), or add nodes"
        )
    return ""


def _decode_shortage(train: TrainConfig, resources: WorkerResources, share: float, cluster: ClusterCapacity) -> str:
    """Shortage of CPUs for decoding: workers that hold all would wait for their first batch forever.

    Other trials hold the rest of the cluster. Elastic trainings may exceed their fraction: they share what is free.
    """
    workers, cpus = workers_at_once(train, resources, cluster), share * cluster.total("CPU")
    left = cpus - workers * resources.cpus
    on_one = max_cpus_left(cluster, resources.as_dict(), workers)
    if on_one >= MIN_DECODE_CPUS - ROUNDING and (left >= MIN_DECODE_CPUS - ROUNDING or not train.cpus_per_worker):
        return ""
    part = f" of this training (ray.share {share:g})" if share < 1 else ""
    return (
        f"train.cpus_per_worker: {resources.cpus:g} CPUs for each of {workers} workers, which leaves "
        f"{max(0.0, left):g} of the {cpus:g} CPUs{part} to decode their clips; set it to "
        f"{_enough(cpus, workers):g} or less, or to 0: half of the CPUs"
    )


def _enough(cpus: float, workers: int) -> float:
    return math.floor(100 * (cpus - MIN_DECODE_CPUS) / workers) / 100


def _memory_shortage(
    train: TrainConfig, resources: WorkerResources, share: float, batch_bytes: int, cluster: ClusterCapacity
) -> str:
    """Shortage of object store: two global batches must fit, or each would be spilled to disk.

    A worker's slice of a batch must fit into the store of its node, or it would never arrive.
    """
    workers = max(1, workers_at_once(train, resources, cluster))
    all_of_it, needed = STORE_FRACTION * share * cluster.total(STORE), BATCHES_AHEAD * batch_bytes
    one, one_needed = STORE_FRACTION * share * cluster.largest(STORE, resources.as_dict()), batch_bytes / workers
    if needed <= all_of_it and one_needed <= one:
        return ""
    if needed > all_of_it:
        what = f"two batches ({needed / 2**20:.0f} MiB, and {all_of_it / 2**20:.0f} MiB are available)"
        enough = -(-int(needed / STORE_FRACTION / share) // 2**20)
    else:
        what = f"a worker's slice of a batch ({one_needed / 2**20:.0f} MiB, and {one / 2**20:.0f} MiB on its node)"
        enough = -(-int(one_needed / STORE_FRACTION / share) // 2**20)
    return (
        f"ray.object_store_mb: too small for {what}; set it to {enough} or more "
        "(a running cluster: its --object-store-memory), or lower train.global_batch_size (of stage 2 "
        "stage2.global_batch_size, of classification classify.global_batch_size), clip.frames or clip.size"
    )
