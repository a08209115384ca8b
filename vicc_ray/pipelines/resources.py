"""How the CPUs, GPUs and the object store of a cluster are shared between training and decoding."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from vicc_ray.config import TrainConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.ingest import BATCHES_AHEAD

STORE_SHARE = 0.6
"""Share of the object store for batches that are decoded ahead; the rest is Ray's own and what is being made."""
OVER_HALF = 0.01
"""Logical CPUs."""
LEAST = 0.1
"""Logical CPUs that decoding takes at least; a machine that has less left than that decodes nothing."""


@dataclass(frozen=True)
class WorkerResources:
    """What a training worker takes."""

    use_gpu: bool
    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Threads of torch."""
        return max(1, int(self.cpus))

    def as_dict(self) -> dict[str, float]:
        """As Ray Train takes it."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.use_gpu else {})}


@dataclass(frozen=True)
class DecodingShare:
    """What one worker's decoding may use."""

    cpus: float
    """Logical CPUs at once."""
    memory: int
    """Bytes of the object store."""
    task_cpus: float
    """Logical CPUs that one task asks for at most."""


def worker_resources(train: TrainConfig, share: float, batch_bytes: int) -> WorkerResources:
    """What each worker takes, so that decoding always gets some: workers that hold all would wait for data for ever.

    Args:
        share: of the cluster, that this training counts on (``ray.share``).
        batch_bytes: of the clips of a global batch.

    Raises:
        UserError: GPUs are asked for and there are too few, or the object store does not hold two global batches.
    """
    total = _counted_on(share)
    gpus, workers = float(total.get("GPU", 0)), train.workers
    use_gpu = train.use_gpu == "yes" or (train.use_gpu == "auto" and gpus >= workers.min * train.worker_gpus)
    if use_gpu and gpus < workers.min * train.worker_gpus:
        raise UserError(
            f"train.use_gpu: yes given for {workers} workers, but Ray sees {gpus:g} GPUs; "
            "lower train.workers or set train.use_gpu=no"
        )
    _check_memory(batch_bytes, int(total["object_store_memory"]))
    cpus = train.worker_cpus or _worker_cpus(train, total["CPU"], share, use_gpu)
    return WorkerResources(use_gpu, cpus, train.worker_gpus)


def decoding_share(worker_cpus: float, workers: int, neighbours: int, share: float) -> DecodingShare:
    """What is left to the decoding of each of ``workers``, by what the cluster has now; ``share`` as above.

    A task asks for no more than this worker's own machine has left, so that one can begin there whatever becomes of the
    others: Ray may still count a machine that is gone, and a task that fits nowhere waits for ever.

    Args:
        neighbours: workers on this machine, this one included.
    """
    total = _counted_on(share)
    cpus = total["CPU"] / workers - worker_cpus
    memory = STORE_SHARE * total["object_store_memory"] / workers
    own = share * _this_machine() / neighbours - worker_cpus
    return DecodingShare(max(cpus, LEAST), int(memory), own if own >= LEAST else 1.0)


def _counted_on(share: float) -> dict[str, float]:
    """What the cluster has now, and of CPUs and object store the part that this training counts on."""
    total = {"CPU": 1.0, "object_store_memory": 0.0, **ray.cluster_resources()}
    return {**total, **{name: share * total[name] for name in ("CPU", "object_store_memory")}}


def _worker_cpus(train: TrainConfig, cpus: float, share: float, use_gpu: bool) -> float:
    """Half of the CPUs train where there is no GPU.

    More threads than that compete with decoding: a step of the demo took 0.50 s on two cores with two threads against
    0.33 s with one. Where the number of workers may change it is a little over half of the smallest machine, whatever
    machines come: Ray Train fills a machine with workers, and with two of them there would be nothing left to decode.
    """
    workers = train.workers
    half = share * _smallest_machine() / 2 + OVER_HALF if workers.elastic else cpus / (2 * workers.max)
    return min(1.0, half) if use_gpu else half


def _smallest_machine() -> float:
    machines = (float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return min((cpus for cpus in machines if cpus), default=1.0)


def _this_machine() -> float:
    own = ray.get_runtime_context().get_node_id()
    return next(float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["NodeID"] == own)


def _check_memory(batch_bytes: int, there: int) -> None:
    """Two global batches must fit into the workers' part of the object store, or every one would go over the disk."""
    memory, needed = int(STORE_SHARE * there), BATCHES_AHEAD * batch_bytes
    if needed > memory:
        enough = -(-int(needed / STORE_SHARE) // 2**20)
        raise UserError(
            f"ray.object_store_mb: too small for two batches ({needed / 2**20:.0f} MiB, and "
            f"{memory / 2**20:.0f} MiB are there for it); set it to {enough} or more "
            "(a running cluster: its --object-store-memory), or lower train.batch (of classification classify.batch), "
            "clip.frames or clip.size"
        )
