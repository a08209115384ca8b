"""A window of Ray tasks for each training worker, a Ray Data pipeline for each, or one for all: which feeds better.

    python benchmarks/ingest_designs.py VIDEOS OUT     # writes benchmarks/ingest_designs.json

A cluster of fake nodes on this machine: each training worker has a node without CPUs, and all decoding is done on nodes
that have nothing but CPUs. All designs decode the same rows of the same plan, on as many CPUs, with as much of the
object store:

  tasks    a window of tasks a worker over its own rows (vicc_ray.pipelines.train.loader, what training uses)
  own      a Ray Data pipeline a worker over its own rows
  shared   one Ray Data pipeline over the rows of all workers in turn, preserve_order, streaming_split

Workers keep step with each other by an all-reduce of gloo, as training does. Measured for 1, 2 and 4 of them, with the
same global batch:

  first_batch_s   until the slowest worker has its first batch
  samples_a_s     all workers together, where a step takes no time: loading is the bottleneck
  wait_ms         p50 and p99 of what a worker waits for data where a step takes 1.5 times as long as loading
  step_stretch    how much longer the worker's own work of such a step takes than without any loading beside it: the
                  pipeline's threads take turns with Python
  exact           whether every worker got the videos of the plan, in order
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
"""Of each node's object store."""
MEMORY = int(0.6 * STORE_BYTES)
WORKERS = (1, 2, 4)
WARM_UP = 3


@dataclass(frozen=True)
class Load:
    """What is loaded: the first ``steps`` steps of a plan over a store."""

    store: str
    steps: int

    def builder(self, rank: int, workers: int) -> ClipBatchBuilder:
        """Of one worker."""
        store = ClipStore(self.store)
        sampler = GlobalBatchSampler(len(store.entries), BATCH, 0)
        return ClipBatchBuilder(store, store.entries, sampler, CLIP, ("rgb", "flow"), rank, workers)


def tasks(load: Load, rank: int, workers: int, _: Any) -> Iterator[np.ndarray]:
    """Videos of each batch of a worker, from a window of tasks."""
    for batch in batches(load.builder(rank, workers), 0, load.steps, CPUS / workers, MEMORY // workers):
        yield batch["videos"].numpy()


def own(load: Load, rank: int, workers: int, _: Any) -> Iterator[np.ndarray]:
    """The same from a pipeline of its own."""
    builder = load.builder(rank, workers)
    rows = [
        {"step": step, "microbatch": microbatch}
        for step in range(load.steps)
        for microbatch in range(builder.microbatches)
    ]
    limit_to(CPUS / workers, MEMORY // workers)
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(Decode([ray.put(builder)]), num_cpus=1)
    yield from whole_batches(made, builder.microbatches)


def shared(load: Load, rank: int, workers: int, iterators: list[Any]) -> Iterator[np.ndarray]:
    """The same from its part of the shared pipeline."""
    yield from whole_batches(iterators[rank], load.builder(rank, workers).microbatches)


def whole_batches(parts_of: Any, parts: int) -> Iterator[np.ndarray]:
    """Batches put together from a data set's rows, each a part of one."""
    rows = iter(parts_of.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=1))
    while taken := list(islice(rows, parts)):
        made = {name: torch.from_numpy(np.concatenate([row[name][0] for row in taken])) for name in taken[0]}
        yield made["videos"].numpy()


def limit_to(cpus: float, memory: int) -> None:
    """What the next pipeline of this process may use."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    limits = context.execution_options.resource_limits.copy(cpu=max(1.0, cpus), object_store_memory=memory)
    context.execution_options.resource_limits = limits


class Decode:
    """The decoding of rows by the builders of all workers."""

    def __init__(self, held: list[ray.ObjectRef]) -> None:
        self._held = held

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        return get_cached(self._held[int(row.get("rank", 0))], kept=BUILDERS_KEPT)(row)


def split_pipeline(load: Load, workers: int) -> list[Any]:
    """Iterators over one pipeline: a row a block, blocks to the workers in turn."""
    limit_to(CPUS, MEMORY)
    builders = [load.builder(rank, workers) for rank in range(workers)]
    order = [(step, microbatch) for step in range(load.steps) for microbatch in range(builders[0].microbatches)]
    rows = [
        {"step": step, "microbatch": microbatch, "rank": rank} for step, microbatch in order for rank in range(workers)
    ]
    decode = Decode([ray.put(builder) for builder in builders])
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(decode, num_cpus=1)
    return list(made.streaming_split(workers, equal=False))


DESIGNS = {"tasks": tasks, "own": own, "shared": shared}


@ray.remote(num_cpus=0, resources={"trainer": 1})
class Worker:
    """Stands for a training worker: takes its batches, works, and waits for the others after each."""

    def __init__(self, rank: int, workers: int, port: int) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.rank, self.workers = rank, workers
        method = f"tcp://127.0.0.1:{port}"
        torch.distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=workers)
        self.a = torch.rand(256, 256)

    def run(self, design: str, load: Load, iterators: list[Any], step_s: float) -> dict[str, Any]:
        """Take all batches; ``step_s``: seconds of work a step, counted without disturbance."""
        units = self._units(step_s)
        waits, works, exact = [], [], True
        sampler = load.builder(self.rank, self.workers).sampler
        begun = asked = time.perf_counter()
        for step, videos in enumerate(DESIGNS[design](load, self.rank, self.workers, iterators)):
            waits.append(time.perf_counter() - asked)
            if step == WARM_UP:
                steady = time.perf_counter()
            exact &= np.array_equal(videos, sampler.rank_batch(step, self.rank, self.workers)[0])
            started = time.perf_counter()
            self._work(units)
            works.append(time.perf_counter() - started)
            torch.distributed.all_reduce(torch.zeros(1))
            asked = time.perf_counter()
        rate = BATCH * (step - WARM_UP) / (asked - steady)
        return {
            **{"first": waits[0], "rate": rate, "waits": waits[WARM_UP:], "seconds": asked - begun},
            **{"work": float(np.median(works)), "exact": bool(exact) and step + 1 == load.steps},
        }

    def alone(self, step_s: float) -> float:
        """Median seconds of the work of a step while nothing is loaded."""
        units, found = self._units(step_s), []
        for _ in range(9):
            begun = time.perf_counter()
            self._work(units)
            found.append(time.perf_counter() - begun)
        return float(np.median(found))

    def _units(self, step_s: float) -> int:
        if not hasattr(self, "_unit"):
            begun = time.perf_counter()
            self._work(200)
            self._unit = (time.perf_counter() - begun) / 200
        return round(step_s / self._unit)

    def _work(self, units: int) -> None:
        """Many small operations, each begun from Python, with a rest: a network's step on an accelerator."""
        for _ in range(units):
            self.a @ self.a
            time.sleep(0.0005)


def main() -> None:
    """Measure; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--frames", type=int, default=186)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="others keep the figures they have")
    options = parser.parse_args()
    path = options.out / f"store-128-{options.frames}"
    make_store(path, choose(options.videos, options.count), 128, options.frames)
    load = Load(str(path.resolve()), options.steps)
    with cluster():
        found = {str(workers): measure(load, workers) for workers in options.workers}
    if RESULT.exists():
        found = {**json.loads(RESULT.read_text())["workers"], **found}
    sizes = {"global_batch": BATCH, "steps": options.steps, "videos": options.count}
    RESULT.write_text(json.dumps({"machine": machine(), **sizes, "workers": found}, indent=1) + "\n")
    print(RESULT.read_text())


@contextmanager
def cluster() -> Iterator[None]:
    """A head that does nothing, nodes that only decode, and a node for each training worker."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", PYTHONPATH=os.environ["PYTHONPATH"])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    for _ in range(CPUS):
        made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    for _ in range(max(WORKERS)):
        made.add_node(num_cpus=0, resources={"trainer": 1}, object_store_memory=STORE_BYTES)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        made.shutdown()


def measure(load: Load, workers: int) -> dict[str, Any]:
    """The designs, one after the other, with the same number of workers."""
    port = free_port()
    make: Any = Worker
    actors = [make.remote(rank, workers, port) for rank in range(workers)]

    def run(design: str, step_s: float) -> list[dict[str, Any]]:
        iterators = split_pipeline(load, workers) if design == "shared" else []
        return ray.get([actor.run.remote(design, load, iterators, step_s) for actor in actors])

    fast = {design: run(design, 0.0) for design in DESIGNS}
    step_s = 1.5 * BATCH / max(f["rate"] for found in fast.values() for f in found)
    alone = ray.get([actor.alone.remote(step_s) for actor in actors])
    busy = {design: run(design, step_s) for design in DESIGNS}
    for actor in actors:
        ray.kill(actor)
    table = {design: summary(fast[design], busy[design], alone) for design in DESIGNS}
    print(workers, json.dumps(table), flush=True)
    return table


def summary(fast: list[dict[str, Any]], busy: list[dict[str, Any]], alone: list[float]) -> dict[str, Any]:
    """What the workers of one design told."""
    waits = 1000 * np.concatenate([found["waits"] for found in busy])
    stretch = np.mean([found["work"] / quiet for found, quiet in zip(busy, alone, strict=True)])
    return {
        "first_batch_s": round(max(found["first"] for found in fast), 2),
        "samples_a_s": round(min(found["rate"] for found in fast), 1),
        "wait_ms": {"p50": round(float(np.median(waits)), 1), "p99": round(float(np.percentile(waits, 99)), 1)},
        "step_stretch": round(float(stretch), 2),
        "exact": all(found["exact"] for found in (*fast, *busy)),
    }


if __name__ == "__main__":
    main()
