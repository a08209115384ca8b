"""How the CPUs, GPUs and the object store of a cluster are shared between training and decoding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import ray

from vicc_ray.config import TrainConfig
from vicc_ray.pipelines.cluster.capacity import STORE, ClusterCapacity, Resources, places

STORE_FRACTION = 0.6
"""Share of the object store for batches that are decoded ahead; the rest is Ray's own and what is being made."""
CPU_EPSILON = 0.01
"""Logical CPUs."""
MIN_DECODE_CPUS = 0.1
"""Logical CPUs that decoding takes at least; a machine that has less left than that decodes nothing."""


@dataclass(frozen=True)
class WorkerResources:
    """What a training worker takes."""

    use_gpu: bool
    cpus: float
    gpus: float
    spare: float = 1.0
    """CPUs, one at most, that a machine at least has left while all workers train, whichever machines those are on."""

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


def size_workers(train: TrainConfig, share: float, there: ClusterCapacity) -> WorkerResources:
    """What each worker would take on these machines, whether or not all of them find room."""
    use_gpu = train.use_gpu == "yes" or (
        train.use_gpu == "auto" and there.places({"GPU": train.gpus_per_worker}) >= train.num_workers.min
    )
    cpus = train.cpus_per_worker or _cpus_per_worker(train, share, use_gpu, there)
    alone = WorkerResources(use_gpu, cpus, train.gpus_per_worker)
    return replace(alone, spare=_spare(train, share, alone, there))


def workers_at_once(train: TrainConfig, resources: WorkerResources, there: ClusterCapacity) -> int:
    """As many as Ray Train would begin on these machines."""
    return min(train.num_workers.max, there.places(resources.as_dict()))


def max_cpus_left(there: ClusterCapacity, worker: Resources, workers: int) -> float:
    """CPUs that one machine has left where as many workers as possible are on the others: the most that can be."""
    room = [places(node, worker) for node in there.nodes]
    return max(
        node.get("CPU", 0.0) - max(0, workers - (sum(room) - own)) * worker["CPU"]
        for node, own in zip(there.nodes, room, strict=True)
    )


def _spare(train: TrainConfig, share: float, resources: WorkerResources, there: ClusterCapacity) -> float:
    nodes = sum(node.get("CPU", 0.0) > 0 for node in there.nodes)
    left = share * there.total("CPU") - workers_at_once(train, resources, there) * resources.cpus
    return min(1.0, max(MIN_DECODE_CPUS, left / max(1, nodes)))


def decoding_share(cpus_per_worker: float, workers: int, neighbours: int, share: float) -> DecodingShare:
    """What is left to the decoding of each of ``workers``, by what the cluster has now; ``share`` as above.

    A task asks for no more than this worker's own machine has left, so that one can begin there whatever becomes of the
    others: Ray may still count a machine that is gone, and a task that fits nowhere waits for ever.

    Args:
        neighbours: workers on this machine, this one included.
    """
    total = _counted_on(share)
    cpus = total["CPU"] / workers - cpus_per_worker
    memory = STORE_FRACTION * total[STORE] / workers
    own = share * _this_machine() / neighbours - cpus_per_worker
    return DecodingShare(max(cpus, MIN_DECODE_CPUS), int(memory), own if own >= MIN_DECODE_CPUS else 1.0)


def _counted_on(share: float) -> dict[str, float]:
    """What the cluster has now, and of CPUs and object store the part that this training counts on."""
    total = {"CPU": 1.0, STORE: 0.0, **ray.cluster_resources()}
    return {**total, **{name: share * total[name] for name in ("CPU", STORE)}}


def _cpus_per_worker(train: TrainConfig, share: float, use_gpu: bool, there: ClusterCapacity) -> float:
    """Half of the CPUs train where there is no GPU, or less where no machine has room for a worker of so many.

    More threads than that compete with decoding: a step of the demo took 0.50 s on two cores with two threads against
    0.33 s with one. Where the number of workers may change it is a little over half of the smallest machine, whatever
    machines come: Ray Train fills a machine with workers, and with two of them there would be nothing left to decode.
    """
    gpus, most = {"GPU": train.gpus_per_worker if use_gpu else 0.0}, 1.0 if use_gpu else math.inf
    tries = [min(most, cpus) for cpus in _halves(train, share, there)]
    for cpus in tries:
        one = {"CPU": cpus, **gpus}
        room = there.places(one)
        if (
            room >= train.num_workers.min
            and max_cpus_left(there, one, min(room, train.num_workers.max)) >= MIN_DECODE_CPUS
        ):
            return cpus
    return tries[0]


def _halves(train: TrainConfig, share: float, there: ClusterCapacity) -> list[float]:
    """CPUs that a worker might take, the best first."""
    sizes = sorted({node["CPU"] for node in there.nodes if node.get("CPU")})
    if train.num_workers.elastic:  # so that of a machine that is filled with workers there is something left
        smallest = sizes[0] if sizes else 1.0
        return [share * smallest / (workers + 1) + CPU_EPSILON for workers in range(1, 2 * train.num_workers.max)]
    half = share * (there.total("CPU") or 1.0) / (2 * train.num_workers.max)
    smaller = {size / workers for size in sizes for workers in range(1, train.num_workers.max + 1)}
    return [half, *sorted((cpus for cpus in smaller if cpus < half), reverse=True)]


def _this_machine() -> float:
    own = ray.get_runtime_context().get_node_id()
    return next(float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["NodeID"] == own)
