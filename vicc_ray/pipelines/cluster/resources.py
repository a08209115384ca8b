"""Division of CPUs, GPUs and object store between training workers and decoding tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import ray

from vicc_ray.config import TrainConfig
from vicc_ray.pipelines.cluster.capacity import STORE, ClusterCapacity, Resources, places

STORE_FRACTION = 0.6
"""Fraction of the object store for batches that are decoded ahead; the rest is for running tasks and Ray itself."""
CPU_EPSILON = 0.01
"""Logical CPUs above half of a node, so that a second worker does not fit."""
MIN_DECODE_CPUS = 0.1
"""Logical CPUs that decoding needs at least; a node with less left decodes nothing."""


@dataclass(frozen=True)
class WorkerResources:
    """Resources of a training worker."""

    use_gpu: bool
    cpus: float
    gpus: float
    spare: float = 1.0
    """CPUs, one at most, that some node has left while all workers train, wherever they are placed."""

    @property
    def threads(self) -> int:
        """Number of torch threads."""
        return max(1, int(self.cpus))

    def as_dict(self) -> dict[str, float]:
        """Resources in the form that Ray Train takes."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.use_gpu else {})}


@dataclass(frozen=True)
class DecodingShare:
    """Resources for the decoding tasks of one worker."""

    cpus: float
    """Logical CPUs of all its running tasks."""
    memory: int
    """Bytes of the object store."""
    task_cpus: float
    """Logical CPUs of one task at most."""


def size_workers(train: TrainConfig, share: float, cluster: ClusterCapacity) -> WorkerResources:
    """Resources of each worker on these nodes, whether or not all workers fit."""
    use_gpu = train.use_gpu == "yes" or (
        train.use_gpu == "auto" and cluster.places({"GPU": train.gpus_per_worker}) >= train.num_workers.min
    )
    cpus = train.cpus_per_worker or _cpus_per_worker(train, share, use_gpu, cluster)
    alone = WorkerResources(use_gpu, cpus, train.gpus_per_worker)
    return replace(alone, spare=_spare(train, share, alone, cluster))


def workers_at_once(train: TrainConfig, resources: WorkerResources, cluster: ClusterCapacity) -> int:
    """Workers that Ray Train would start on these nodes."""
    return min(train.num_workers.max, cluster.places(resources.as_dict()))


def max_cpus_left(cluster: ClusterCapacity, worker: Resources, workers: int) -> float:
    """CPUs that a node can have left at most, with as many workers as possible on the others."""
    room = [places(node, worker) for node in cluster.nodes]
    return max(
        node.get("CPU", 0.0) - max(0, workers - (sum(room) - own)) * worker["CPU"]
        for node, own in zip(cluster.nodes, room, strict=True)
    )


def _spare(train: TrainConfig, share: float, resources: WorkerResources, cluster: ClusterCapacity) -> float:
    nodes = sum(node.get("CPU", 0.0) > 0 for node in cluster.nodes)
    left = share * cluster.total("CPU") - workers_at_once(train, resources, cluster) * resources.cpus
    return min(1.0, max(MIN_DECODE_CPUS, left / max(1, nodes)))


def decoding_share(cpus_per_worker: float, workers: int, neighbors: int, share: float) -> DecodingShare:
    """Resources that are left for the decoding of each of ``workers``, by what the cluster has now.

    A task asks for no more than this worker's own node has left, so that it can always start there: Ray may still
    count a lost node, and a task that fits nowhere waits forever.

    Args:
        neighbors: workers on this node, this one included.
        share: fraction of the cluster that this training may use (``ray.share``).
    """
    total = _counted_on(share)
    cpus = total["CPU"] / workers - cpus_per_worker
    memory = STORE_FRACTION * total[STORE] / workers
    own = share * _this_machine() / neighbors - cpus_per_worker
    return DecodingShare(max(cpus, MIN_DECODE_CPUS), int(memory), own if own >= MIN_DECODE_CPUS else 1.0)


def _counted_on(share: float) -> dict[str, float]:
    """Resources of the cluster now; of CPUs and object store the fraction that this training may use."""
    total = {"CPU": 1.0, STORE: 0.0, **ray.cluster_resources()}
    return {**total, **{name: share * total[name] for name in ("CPU", STORE)}}


def _cpus_per_worker(train: TrainConfig, share: float, use_gpu: bool, cluster: ClusterCapacity) -> float:
    """CPUs of a worker: without GPUs half of all CPUs train, or fewer where no node has room for such a worker.

    More threads compete with decoding: a step of the demo took 0.50 s on two cores with two threads and 0.33 s with
    one. An elastic training takes a little over half of the smallest node, whatever nodes join: Ray Train fills a node
    with workers, and two of them would leave nothing for decoding.
    """
    gpus, most = {"GPU": train.gpus_per_worker if use_gpu else 0.0}, 1.0 if use_gpu else math.inf
    tries = [min(most, cpus) for cpus in _halves(train, share, cluster)]
    for cpus in tries:
        one = {"CPU": cpus, **gpus}
        room = cluster.places(one)
        if (
            room >= train.num_workers.min
            and max_cpus_left(cluster, one, min(room, train.num_workers.max)) >= MIN_DECODE_CPUS
        ):
            return cpus
    return tries[0]


def _halves(train: TrainConfig, share: float, cluster: ClusterCapacity) -> list[float]:
    """Candidates for the CPUs of a worker, the best first."""
    sizes = sorted({node["CPU"] for node in cluster.nodes if node.get("CPU")})
    if train.num_workers.elastic:  # so that a node that is filled with workers has some left
        smallest = sizes[0] if sizes else 1.0
        return [share * smallest / (workers + 1) + CPU_EPSILON for workers in range(1, 2 * train.num_workers.max)]
    half = share * (cluster.total("CPU") or 1.0) / (2 * train.num_workers.max)
    smaller = {size / workers for size in sizes for workers in range(1, train.num_workers.max + 1)}
    return [half, *sorted((cpus for cpus in smaller if cpus < half), reverse=True)]


def _this_machine() -> float:
    own = ray.get_runtime_context().get_node_id()
    return next(float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["NodeID"] == own)
