"""Whether the machines have what a training or a sweep asks for; what is missing is told with the setting to change."""

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
"""Of CPUs that are added up."""


def worker_resources(train: TrainConfig, share: float, batch_bytes: int) -> WorkerResources:
    """What each worker takes, so that decoding always gets some: workers that hold all would wait for data for ever.

    Args:
        share: of the cluster, that this training counts on (``ray.share``).
        batch_bytes: of the clips of a global batch.

    Raises:
        UserError: see :func:`training_shortage`.
    """
    there = cluster_capacity()
    if lack := training_shortage(train, share, batch_bytes, there):
        raise UserError(lack)
    return size_workers(train, share, there)


def training_shortage(train: TrainConfig, share: float, batch_bytes: int, there: ClusterCapacity) -> str:
    """What the machines have too little of for ``train.num_workers.min`` workers and their decoding, "" if nothing.

    Arguments as of :func:`worker_resources`.
    """
    gpus = train.num_workers.min * train.gpus_per_worker
    if train.use_gpu == "yes" and there.places({"GPU": train.gpus_per_worker}) < train.num_workers.min:
        return (
            f"GPUs: {there.total('GPU'):g} of the {gpus:g} that {train.num_workers} workers take (train.use_gpu: "
            f"yes given)"
            "; lower train.num_workers or set train.use_gpu=no"
        )
    if not there.total("CPU"):
        return NO_CPUS_YET
    resources = size_workers(train, share, there)
    return (
        _worker_shortage(train, resources, there)
        or _decode_shortage(train, resources, share, there)
        or _memory_shortage(train, resources, share, batch_bytes, there)
    )


def training_bundles(train: TrainConfig) -> list[dict[str, float]]:
    """What to ask an autoscaler for, that a training can begin: its workers' places, and one to decode."""
    gpus = {"GPU": train.gpus_per_worker} if train.use_gpu == "yes" else {}
    return [{"CPU": 1.0}, *[{"CPU": train.cpus_per_worker or 1.0, **gpus}] * train.num_workers.min]


def sweep_bundles(settings: SweepConfig, trial: TrainConfig) -> list[dict[str, float]]:
    """What to ask an autoscaler for, that as many trials as go on at once can begin: that of their trainings, and the
    rest of their CPUs one by one.
    """
    bundles = training_bundles(trial)
    left = settings.resources_per_trial.cpus - sum(bundle["CPU"] for bundle in bundles)
    return [*bundles, *[{"CPU": 1.0}] * math.ceil(max(0.0, left))] * settings.max_concurrent_trials


def sweep_shortage(settings: SweepConfig, trial: Config, batch_bytes: int, there: ClusterCapacity) -> str:
    """What the machines have too little of for a sweep, "" if nothing.

    Trials whose workers held all CPUs would wait for their decoding for ever, so that those of all that go on at once
    must be there. Trials that find no GPU free are begun when one is: one of them must fit.

    Args:
        trial: settings of one of them.
    """
    given = settings.resources_per_trial
    if settings.max_concurrent_trials * given.cpus > (cpus := there.total("CPU")):
        return (
            f"resources_per_trial.cpus: {given.cpus:g} given for each of {settings.max_concurrent_trials} trials at "
            f"once (max_concurrent_trials), "
            f"and the machines have {cpus:g} CPUs; lower one of the two, or set resources_per_trial.cpus to 0"
        )
    if given.gpus > (gpus := there.total("GPU")):
        return (
            f"resources_per_trial.gpus: {given.gpus:g} given for each trial, and the machines have {gpus:g} GPUs; "
            "lower it, or set it to 0"
        )
    lack = training_shortage(trial.train, trial.ray.share, batch_bytes, there)
    if lack and given.cpus:
        return f"resources_per_trial.cpus: {given.cpus:g} given for each trial, half of which trains. {lack}"
    return lack


def _worker_shortage(train: TrainConfig, resources: WorkerResources, there: ClusterCapacity) -> str:
    """Each worker needs its place on one machine."""
    gpus = {"GPU": resources.gpus} if resources.use_gpu else {}
    largest = there.largest("CPU", gpus)
    if resources.cpus > largest:
        with_gpu = " with a GPU for it" if gpus else ""
        return (
            f"train.cpus_per_worker: {resources.cpus:g} CPUs for a worker, and the largest machine{with_gpu} has "
            f"{largest:g}; lower it so that something is left for decoding, or set it to 0: half of the CPUs"
        )
    room = there.places(resources.as_dict())
    if room < train.num_workers.min:
        return (
            f"train.num_workers: {train.num_workers} given with {format_resources(resources.as_dict())} each, and "
            f"the nodes "
            f"have room for {room}; lower it or train.cpus_per_worker ({train.cpus_per_worker:g}), or add machines"
        )
    return ""


def _decode_shortage(train: TrainConfig, resources: WorkerResources, share: float, there: ClusterCapacity) -> str:
    """Workers that hold all CPUs would wait for their first batch for ever.

    Other trials hold what is not this training's part. Of one that grows with the room there is, the part is exceeded:
    they share that room.
    """
    workers, cpus = workers_at_once(train, resources, there), share * there.total("CPU")
    left = cpus - workers * resources.cpus
    on_one = max_cpus_left(there, resources.as_dict(), workers)
    if on_one >= MIN_DECODE_CPUS - ROUNDING and (left >= MIN_DECODE_CPUS - ROUNDING or not train.cpus_per_worker):
        return ""
    part = f" that this training counts on (ray.share {share:g})" if share < 1 else ""
    return (
        f"train.cpus_per_worker: {resources.cpus:g} CPUs for each of {workers} workers, which leaves "
        f"{max(0.0, left):g} of the {cpus:g} CPUs{part} to decode their clips; set it to "
        f"{_enough(cpus, workers):g} or less, or to 0: half of the CPUs"
    )


def _enough(cpus: float, workers: int) -> float:
    return math.floor(100 * (cpus - MIN_DECODE_CPUS) / workers) / 100


def _memory_shortage(
    train: TrainConfig, resources: WorkerResources, share: float, batch_bytes: int, there: ClusterCapacity
) -> str:
    """Two global batches must fit into the workers' part of the object store, or every one would go over the disk.

    And a worker's part of one into the object store of its machine, or it would never get there.
    """
    workers = max(1, workers_at_once(train, resources, there))
    all_of_it, needed = STORE_FRACTION * share * there.total(STORE), BATCHES_AHEAD * batch_bytes
    one, one_needed = STORE_FRACTION * share * there.largest(STORE, resources.as_dict()), batch_bytes / workers
    if needed <= all_of_it and one_needed <= one:
        return ""
    if needed > all_of_it:
        what = f"two batches ({needed / 2**20:.0f} MiB, and {all_of_it / 2**20:.0f} MiB are there for it)"
        enough = -(-int(needed / STORE_FRACTION / share) // 2**20)
    else:
        what = f"a worker's part of a batch ({one_needed / 2**20:.0f} MiB, and {one / 2**20:.0f} MiB of its machine)"
        enough = -(-int(one_needed / STORE_FRACTION / share) // 2**20)
    return (
        f"ray.object_store_mb: too small for {what}; set it to {enough} or more "
        "(a running cluster: its --object-store-memory), or lower train.global_batch_size (of classification "
        "classify.global_batch_size), "
        "clip.frames or clip.size"
    )
