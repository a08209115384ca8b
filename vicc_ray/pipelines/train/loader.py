"""Clip store -> batches of one training worker, decoded by Ray tasks on whatever CPUs the cluster has.

Each worker asks for the parts of its own batches, in the order of the plan, and holds a window of them. So the first
batch after a restart is the very next one, any number of workers can share the global batch, and nothing is drained
between epochs. ``benchmarks/ingest_designs.py`` compares this with pipelines of Ray Data, one a worker or one for all.
T frames, S clip side.
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
"""Batches that may lie in the object store at least: the one that is trained on and the next."""
MICROBATCHES_PER_CPU = 4
"""Parts ahead for each CPU: a few, so that one that takes long does not hold up the others."""
FETCH_POLL_S = 1.0
"""Seconds after which the thread that waits for a result looks whether it is still wanted."""
RETRIES = 10
"""How often a task whose process or node died is given to another one."""


def batches(
    builder: ClipBatchBuilder, start: int, stop: int, cpus: float, memory: int, task_cpus: float = 1.0
) -> Iterator[dict[str, Tensor]]:
    """Batches of the global steps ``start`` to ``stop``, in order; decoding goes on while one is trained on.

    Args:
        cpus: logical CPUs that this worker's decoding may use at once.
        memory: bytes of the object store that it may fill; two batches are taken whatever is given.
        task_cpus: logical CPUs that one task asks for at most.
    """
    held, running = ray.put(builder), max(1, round(cpus))
    asked = math.floor(1000 * min(1.0, task_cpus, cpus / running)) / 1000
    task = decode.options(num_cpus=asked, max_retries=RETRIES, scheduling_strategy=NO_PLACEMENT_GROUP)
    rows = [
        {"step": step, "microbatch": microbatch}
        for step in range(start, stop)
        for microbatch in range(builder.microbatches)
    ]
    ahead = min(memory * builder.microbatches // builder.batch_bytes, MICROBATCHES_PER_CPU * running)
    window = _Window((partial(task.remote, [held], row) for row in rows), running, ahead, builder.microbatches)
    try:
        while parts := list(islice(window, builder.microbatches)):
            # A copy: what lies in the object store can be neither written to nor given back while it is looked at.
            batch = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
            window.give_back(len(parts))
            del parts
            yield batch
    finally:
        window.close()


class _Window:
    """Results of tasks in their order; a thread begins new ones as old ones end and results are given back.

    Another one brings results from other nodes here before they are asked for, one after the other.

    Args:
        calls: each begins a task.
        running: tasks that may run at once.
        ahead: results, finished or not, that may be held; at least ``BATCHES_AHEAD`` times ``least``.
    """

    def __init__(self, calls: Iterator[Callable[[], ray.ObjectRef]], running: int, ahead: int, least: int) -> None:
        self._calls, self._running = calls, running
        self._free = max(BATCHES_AHEAD * least, ahead)
        self._results: deque[ray.ObjectRef | Exception] = deque()
        self._open = True
        self._changed = Condition()
        self._coming: SimpleQueue[ray.ObjectRef | None] = SimpleQueue()
        self._threads = [Thread(target=target, daemon=True) for target in (self._fill, self._fetch)]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._results)
            reference = self._results.popleft()
        if isinstance(reference, Exception):  # the end, or what kept the thread from going on
            self._results.append(reference)
            raise reference
        return ray.get(reference)

    def give_back(self, count: int) -> None:
        """So many results are of no use any more."""
        with self._changed:
            self._free += count
            self._changed.notify_all()

    def close(self) -> None:
        """Begin no more; those that run are left to end, and their results go with the last look at them."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _fill(self) -> None:
        try:
            self._begin_all()
            end: Exception = StopIteration()
        except Exception as error:  # noqa: BLE001 - it is raised again where the results are waited for
            end = error
        self._coming.put(None)
        with self._changed:
            self._results.append(end)
            self._changed.notify_all()

    def _fetch(self) -> None:
        while (reference := self._coming.get()) is not None:
            while self._open and not ray.wait([reference], timeout=FETCH_POLL_S)[0]:
                pass
            del reference  # or it would be held until the next one comes

    def _begin_all(self) -> None:
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
                self._coming.put(reference)
                self._changed.notify_all()
