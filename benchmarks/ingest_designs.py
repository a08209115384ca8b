"""Loader designs: a window of Ray tasks per training worker, a Ray Data pipeline per worker, or one for all workers.

    python benchmarks/ingest_designs.py VIDEOS OUT     # writes benchmarks/ingest_designs.json

The cluster has fake nodes on this machine: each training worker has a node without CPUs, and decoding runs on CPU-only
nodes. All designs decode the same rows of the same sampler, with the same number of CPUs and the same share of the
object store:

  tasks    one window of tasks per worker over its rows (vicc_ray.pipelines.train.loader, which training uses)
  own      one Ray Data pipeline per worker over its rows
  shared   one Ray Data pipeline over the interleaved rows of all workers, preserve_order, streaming_split

Workers synchronize with a gloo all-reduce, as in training. Measured for 1, 2 and 4 workers with the same global batch:

  first_batch_s   time until the slowest worker has its first batch
  samples_a_s     all workers together with empty steps: loading is the bottleneck
  wait_ms         p50 and p99 of a worker's data wait with steps of 1.5 times the loading time
  step_stretch    duration of such a step's work relative to that without loading: the pipeline's threads compete for
                  the GIL
  exact           whether every worker got the sampler's videos in order
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray
import torch
from films import choose, make_store
from measured import free_port, machine
from ray.cluster_utils import Cluster

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.pipelines.cluster.broadcast import get_cached
from vicc_ray.pipelines.train.decode_task import BUILDERS_KEPT
from vicc_ray.pipelines.train.loader import batches
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder

RESULT = Path(__file__).with_suffix(".json")
CLIP = Config().clip
BATCH = 16
CPUS = os.cpu_count() or 1
STORE_BYTES = 512 << 20
"""Size of each node's object store."""
MEMORY = int(0.6 * STORE_BYTES)
WORKERS = (1, 2, 4)
WARM_UP = 3


@dataclass(frozen=True)
class Load:
    """Load of a measurement: the first ``steps`` steps of a sampler over a store."""

    store: str
    steps: int

    def builder(self, rank: int, workers: int) -> ClipBatchBuilder:
        """Batch builder of one worker."""
        store = ClipStore(self.store)
        sampler = GlobalBatchSampler(len(store.entries), BATCH, 0)
        return ClipBatchBuilder(store, store.entries, sampler, CLIP, ("rgb", "flow"), rank, workers)


def tasks(load: Load, rank: int, workers: int, _: Any) -> Iterator[np.ndarray]:
    """Videos of each of a worker's batches, from a window of tasks."""
    for batch in batches(load.builder(rank, workers), 0, load.steps, CPUS / workers, MEMORY // workers):
        yield batch["videos"].numpy()


def own(load: Load, rank: int, workers: int, _: Any) -> Iterator[np.ndarray]:
    """Videos of each batch, from a pipeline of this worker alone."""
    builder = load.builder(rank, workers)
    rows = [
        {"step": step, "microbatch": microbatch}
        for step in range(load.steps)
        for microbatch in range(builder.microbatches)
    ]
    limit_to(CPUS / workers, MEMORY // workers)
    decoded = ray.data.from_items(rows, override_num_blocks=len(rows)).map(Decode([ray.put(builder)]), num_cpus=1)
    yield from whole_batches(decoded, builder.microbatches)


def shared(load: Load, rank: int, workers: int, iterators: list[Any]) -> Iterator[np.ndarray]:
    """Videos of each batch, from this worker's split of the shared pipeline."""
    yield from whole_batches(iterators[rank], load.builder(rank, workers).microbatches)


def whole_batches(dataset: Any, microbatches: int) -> Iterator[np.ndarray]:
    """Videos of each batch, concatenated from the microbatches in a dataset's rows."""
    rows = iter(dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=1))
    while parts := list(islice(rows, microbatches)):
        batch = {name: torch.from_numpy(np.concatenate([part[name][0] for part in parts])) for name in parts[0]}
        yield batch["videos"].numpy()


def limit_to(cpus: float, memory: int) -> None:
    """Limit the resources of the next pipeline of this process."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    limits = context.execution_options.resource_limits.copy(cpu=max(1.0, cpus), object_store_memory=memory)
    context.execution_options.resource_limits = limits


class Decode:
    """Decoding of rows with the builders of all workers."""

    def __init__(self, builders: list[ray.ObjectRef]) -> None:
        self._builders = builders

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        return get_cached(self._builders[int(row.get("rank", 0))], kept=BUILDERS_KEPT)(row)


def split_pipeline(load: Load, workers: int) -> list[Any]:
    """Iterators over one pipeline with one row per block; blocks alternate between workers."""
    limit_to(CPUS, MEMORY)
    builders = [load.builder(rank, workers) for rank in range(workers)]
    order = [(step, microbatch) for step in range(load.steps) for microbatch in range(builders[0].microbatches)]
    rows = [
        {"step": step, "microbatch": microbatch, "rank": rank} for step, microbatch in order for rank in range(workers)
    ]
    decode = Decode([ray.put(builder) for builder in builders])
    decoded = ray.data.from_items(rows, override_num_blocks=len(rows)).map(decode, num_cpus=1)
    return list(decoded.streaming_split(workers, equal=False))


DESIGNS = {"tasks": tasks, "own": own, "shared": shared}


@ray.remote(num_cpus=0, resources={"trainer": 1})
class Worker:
    """Stand-in for a training worker: takes a batch, works, and synchronizes with the others."""

    def __init__(self, rank: int, workers: int, port: int) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.rank, self.workers = rank, workers
        method = f"tcp://127.0.0.1:{port}"
        torch.distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=workers)
        self.a = torch.rand(256, 256)

    def run(self, design: str, load: Load, iterators: list[Any], step_s: float) -> dict[str, Any]:
        """Take all batches; ``step_s``: seconds of work per step, calibrated without other load."""
        units = self._units(step_s)
        waits, works, exact = [], [], True
        sampler = load.builder(self.rank, self.workers).sampler
        start = requested = time.perf_counter()
        for step, videos in enumerate(DESIGNS[design](load, self.rank, self.workers, iterators)):
            waits.append(time.perf_counter() - requested)
            if step == WARM_UP:
                steady = time.perf_counter()
            exact &= np.array_equal(videos, sampler.rank_batch(step, self.rank, self.workers)[0])
            started = time.perf_counter()
            self._work(units)
            works.append(time.perf_counter() - started)
            torch.distributed.all_reduce(torch.zeros(1))
            requested = time.perf_counter()
        rate = BATCH * (step - WARM_UP) / (requested - steady)
        return {
            **{"first": waits[0], "rate": rate, "waits": waits[WARM_UP:], "seconds": requested - start},
            **{"work": float(np.median(works)), "exact": bool(exact) and step + 1 == load.steps},
        }

    def alone(self, step_s: float) -> float:
        """Median seconds of a step's work without loading."""
        units, seconds = self._units(step_s), []
        for _ in range(9):
            start = time.perf_counter()
            self._work(units)
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds))

    def _units(self, step_s: float) -> int:
        if not hasattr(self, "_unit"):
            start = time.perf_counter()
            self._work(200)
            self._unit = (time.perf_counter() - start) / 200
        return round(step_s / self._unit)

    def _work(self, units: int) -> None:
        """Launch many small operations from Python with sleeps between, like a step on an accelerator."""
        for _ in range(units):
            self.a @ self.a
            time.sleep(0.0005)


def main() -> None:
    """Measure all designs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--frames", type=int, default=186)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=WORKERS, help="other counts keep their earlier results"
    )
    options = parser.parse_args()
    path = options.out / f"store-128-{options.frames}"
    make_store(path, choose(options.videos, options.count), 128, options.frames)
    load = Load(str(path.resolve()), options.steps)
    with cluster():
        by_workers = {str(workers): measure(load, workers) for workers in options.workers}
    if RESULT.exists():
        by_workers = {**json.loads(RESULT.read_text())["workers"], **by_workers}
    sizes = {"global_batch": BATCH, "steps": options.steps, "videos": options.count}
    RESULT.write_text(json.dumps({"machine": machine(), **sizes, "workers": by_workers}, indent=1) + "\n")
    print(RESULT.read_text())


@contextmanager
def cluster() -> Iterator[None]:
    """Run a cluster of an idle head, decoding nodes, and one node per training worker."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", PYTHONPATH=os.environ["PYTHONPATH"])
    ray_cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    for _ in range(CPUS):
        ray_cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    for _ in range(max(WORKERS)):
        ray_cluster.add_node(num_cpus=0, resources={"trainer": 1}, object_store_memory=STORE_BYTES)
    ray_cluster.wait_for_nodes()
    ray.init(address=ray_cluster.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        ray_cluster.shutdown()


def measure(load: Load, workers: int) -> dict[str, Any]:
    """Measure the designs in sequence with the same number of workers."""
    port = free_port()
    make: Any = Worker
    actors = [make.remote(rank, workers, port) for rank in range(workers)]

    def run(design: str, step_s: float) -> list[dict[str, Any]]:
        iterators = split_pipeline(load, workers) if design == "shared" else []
        return ray.get([actor.run.remote(design, load, iterators, step_s) for actor in actors])

    fast = {design: run(design, 0.0) for design in DESIGNS}
    step_s = 1.5 * BATCH / max(worker["rate"] for results in fast.values() for worker in results)
    alone = ray.get([actor.alone.remote(step_s) for actor in actors])
    busy = {design: run(design, step_s) for design in DESIGNS}
    for actor in actors:
        ray.kill(actor)
    table = {design: summary(fast[design], busy[design], alone) for design in DESIGNS}
    print(workers, json.dumps(table), flush=True)
    return table


def summary(fast: list[dict[str, Any]], busy: list[dict[str, Any]], alone: list[float]) -> dict[str, Any]:
    """Summary over the workers of one design."""
    waits = 1000 * np.concatenate([result["waits"] for result in busy])
    stretch = np.mean([result["work"] / quiet for result, quiet in zip(busy, alone, strict=True)])
    return {
        "first_batch_s": round(max(result["first"] for result in fast), 2),
        "samples_a_s": round(min(result["rate"] for result in fast), 1),
        "wait_ms": {"p50": round(float(np.median(waits)), 1), "p99": round(float(np.percentile(waits, 99)), 1)},
        "step_stretch": round(float(stretch), 2),
        "exact": all(result["exact"] for result in (*fast, *busy)),
    }


if __name__ == "__main__":
    main()
