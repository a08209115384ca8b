"""Clip store -> batches of one training worker, decoded by Ray Data on whatever CPUs the cluster has.

Each worker builds its own pipelines over the rest of its turn from the plan, a row a part of a batch. So the first
batch after a restart is the very next one, any number of workers can share the global batch, and no epoch drains the
pipeline. ``benchmarks/ingest_designs.py`` compares this with one pipeline for all workers.
b this worker's samples, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import ray.data
import torch
from ray.data.dataset import MaterializedDataset
from torch import Tensor

from vicc_ray.pipelines.decode_task import DecodeTask
from vicc_ray.training.batch_maker import BatchMaker

MOST_ROWS_A_TASK = 8
SPANS_AHEAD = 2
"""Spans that lie in the object store at once: the one that is trained on and the next."""


def batches(maker: BatchMaker, start: int, stop: int, cpus: float, memory: int) -> Iterator[dict[str, Tensor]]:
    """Batches of the global steps ``start`` to ``stop``, in order.

    Steps are decoded in spans, the next one while the current one is trained on. One dataset over the whole turn costs
    more: as soon as its output waits for the trainer, Ray Data's executor, a thread of this process, polls without a
    pause, and the GIL that it takes made a step of the demo 2.2 times as long.

    Args:
        cpus: logical CPUs that this worker's decoding may use at once.
        memory: bytes of the object store that it may fill; two batches are taken whatever is given.
    """
    held = ray.put(maker)
    spans = _spans(start, stop, _longest(maker, cpus, memory))
    with ThreadPoolExecutor(max_workers=1) as ahead:
        coming = [ahead.submit(_decode, held, maker, span, cpus) for span in spans[:1]]
        for following in [*spans[1:], None]:
            made = coming.pop().result()
            if following is not None:
                coming.append(ahead.submit(_decode, held, maker, following, cpus))
            rows = iter(made.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=1))
            while parts := list(islice(rows, maker.parts)):
                yield {name: torch.from_numpy(np.concatenate([p[name][0] for p in parts])) for name in parts[0]}


def _longest(maker: BatchMaker, cpus: float, memory: int) -> int:
    """Steps of a span: enough for all CPUs to have two tasks, as far as the memory goes."""
    wanted = -(-int(2 * max(1.0, cpus)) * maker.part_bytes // maker.batch_bytes)
    return max(1, min(wanted, memory // SPANS_AHEAD // maker.batch_bytes))


def _spans(start: int, stop: int, longest: int) -> list[range]:
    """``start`` to ``stop`` in spans of up to ``longest`` steps; the first are short: the first batch is soon."""
    found, size = [], 2
    while start < stop:
        size = min(longest, 2 * size)
        found.append(range(start, min(start + size, stop)))
        start += size
    return found


def _decode(held: ray.ObjectRef, maker: BatchMaker, span: range, cpus: float) -> MaterializedDataset:
    """The batches of a span in the object store, a row a part."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(cpu=max(1.0, cpus))
    rows = [{"step": step, "part": part} for step in span for part in range(maker.parts)]
    rows_a_task = max(1, min(MOST_ROWS_A_TASK, maker.part_bytes * maker.parts // maker.batch_bytes, len(rows)))
    made = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // rows_a_task))
    return made.map(DecodeTask(held), num_cpus=min(1.0, cpus)).materialize()
