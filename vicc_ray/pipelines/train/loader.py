"""Data loader of a training worker: Ray tasks on any CPU of the cluster decode its batches from the clip store.

Each worker submits the tasks of its own batches in sampler order and keeps a window of results. So a restarted worker
resumes with the exact next batch, any number of workers can share the global batch, and the pipeline does not drain
between epochs. ``benchmarks/ingest_designs.py`` compares this with Ray Data pipelines, one per worker or one for all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from vicc_ray.pipelines.cluster.capacity import NO_PLACEMENT_GROUP
from vicc_ray.pipelines.train.decode_task import decode
from vicc_ray.training.data.clip_batches import ClipBatchBuilder

BATCHES_AHEAD = 2
"""Minimum of batches in the object store: the current one and the next."""
MICROBATCHES_PER_CPU = 4
"""Prefetched microbatches per CPU: a few, so that a slow one does not stall the others."""
FETCH_POLL_S = 1.0
"""Seconds between checks of the fetching thread for the end of the loader."""
RETRIES = 10
"""Retries of a task whose process or node died."""


def batches(
    builder: ClipBatchBuilder, start: int, stop: int, cpus: float, memory: int, task_cpus: float = 1.0
) -> Iterator[dict[str, Tensor]]:
    """Batches of the global steps ``start`` to ``stop``, in order; tasks decode ahead while the worker trains.

    Args:
        cpus: logical CPUs for this worker's decoding.
        memory: bytes of the object store for its results; at least two batches are prefetched, whatever the value.
        task_cpus: upper limit of a task's logical CPUs.
    """
    builder_ref, running = ray.put(builder), max(1, round(cpus))
    num_cpus = math.floor(1000 * min(1.0, task_cpus, cpus / running)) / 1000
    task = decode.options(num_cpus=num_cpus, max_retries=RETRIES, scheduling_strategy=NO_PLACEMENT_GROUP)
    rows = [
        {"step": step, "microbatch": microbatch}
        for step in range(start, stop)
        for microbatch in range(builder.microbatches)
    ]
    ahead = min(memory * builder.microbatches // builder.batch_bytes, MICROBATCHES_PER_CPU * running)
    window = _Window((partial(task.remote, [builder_ref], row) for row in rows), running, ahead, builder.microbatches)
    try:
        while microbatches := list(islice(window, builder.microbatches)):
            # A copy: arrays in the object store are read-only and occupy it until the last reference is gone.
            batch = {
                name: torch.from_numpy(np.concatenate([part[name] for part in microbatches]))
                for name in microbatches[0]
            }
            window.release(len(microbatches))
            del microbatches
            yield batch
    finally:
        window.close()


class _Window:
    """Prefetch window: results of tasks in order. A thread submits tasks as others finish and results are released.

    A second thread fetches results from other nodes, one at a time, before the worker needs them.

    Args:
        calls: each submits a task.
        running: limit of concurrent tasks.
        ahead: limit of results, finished or pending; raised to ``BATCHES_AHEAD`` times ``least``.
        least: microbatches of a batch.
    """

    def __init__(self, calls: Iterator[Callable[[], ray.ObjectRef]], running: int, ahead: int, least: int) -> None:
        self._calls, self._running = calls, running
        self._free = max(BATCHES_AHEAD * least, ahead)
        self._results: deque[ray.ObjectRef | Exception] = deque()
        self._open = True
        self._changed = Condition()
        self._submitted: SimpleQueue[ray.ObjectRef | None] = SimpleQueue()
        self._threads = [Thread(target=target, daemon=True) for target in (self._fill, self._fetch)]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._results)
            reference = self._results.popleft()
        if isinstance(reference, Exception):  # StopIteration at the end, or the error that ended the thread
            self._results.append(reference)
            raise reference
        return ray.get(reference)

    def release(self, count: int) -> None:
        """Free the places of ``count`` consumed results."""
        with self._changed:
            self._free += count
            self._changed.notify_all()

    def close(self) -> None:
        """Submit no more tasks. Running ones finish; their results go with the last reference."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _fill(self) -> None:
        try:
            self._submit_all()
            end: Exception = StopIteration()
        except Exception as error:  # noqa: BLE001 - __next__ raises it
            end = error
        self._submitted.put(None)
        with self._changed:
            self._results.append(end)
            self._changed.notify_all()

    def _fetch(self) -> None:
        while (reference := self._submitted.get()) is not None:
            while self._open and not ray.wait([reference], timeout=FETCH_POLL_S)[0]:
                pass
            del reference  # else the result would stay in the object store until the next one arrives

    def _submit_all(self) -> None:
        busy: list[ray.ObjectRef] = []
        for call in self._calls:
            if len(busy) == self._running:
                _, busy = ray.wait(busy, num_returns=1, fetch_local=False)
            with self._changed:
                self._changed.wait_for(lambda: self._free or not self._open)
                if not self._open:
                    return
                self._free -= 1
                reference = call()
                self._results.append(reference)
                busy.append(reference)
                self._submitted.put(reference)
                self._changed.notify_all()
