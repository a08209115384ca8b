"""Clip store -> batches of one training worker, decoded by Ray Data on whatever CPUs the cluster has.

Each worker builds its own pipelines over the rest of its turn from the plan, one row a batch. So the first batch after
a restart is the very next one, any number of workers can share the global batch, and no epoch drains the pipeline.
b this worker's samples, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ray.data
import torch
from ray.data.dataset import MaterializedDataset
from torch import Tensor

from vicc_ray.pipelines.decode_task import DecodeTask
from vicc_ray.training.batch_maker import BatchMaker

TASK_BYTES = 32 << 20
"""Batches are made in tasks of about this many bytes: large enough to hide what a task costs, small enough that the
first batch does not wait for many others."""
MOST_STEPS_A_TASK = 8
SPAN_BYTES = 64 << 20
"""Bytes of batches that are decoded ahead as one dataset."""


def batches(maker: BatchMaker, start: int, stop: int, cpus: float) -> Iterator[dict[str, Tensor]]:
    """Batches of the steps ``start`` to ``stop`` of a turn, in order.

    Steps are decoded in spans, the next one while the current one is trained on. One dataset over the whole turn costs
    more: as soon as its output waits for the trainer, Ray Data's executor, a thread of this process, polls without a
    pause, and the GIL that it takes made a step of the demo 2.2 times as long.

    Args:
        cpus: logical CPUs that this worker's decoding may use at once.
    """
    held = ray.put(maker)
    longest = max(int(2 * cpus), SPAN_BYTES // maker.batch_bytes, 1)
    spans = _spans(start, stop, longest)
    with ThreadPoolExecutor(max_workers=1) as ahead:
        coming = [ahead.submit(_decode, held, span, maker.batch_bytes, cpus) for span in spans[:1]]
        for following in [*spans[1:], None]:
            made = coming.pop().result()
            if following is not None:
                coming.append(ahead.submit(_decode, held, following, maker.batch_bytes, cpus))
            for batch in made.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=1):
                yield {name: torch.from_numpy(np.array(value[0])) for name, value in batch.items()}


def _spans(start: int, stop: int, longest: int) -> list[range]:
    """``start`` to ``stop`` in spans of up to ``longest`` steps; the first are short: the first batch is soon."""
    found, size = [], 2
    while start < stop:
        size = min(longest, 2 * size)
        found.append(range(start, min(start + size, stop)))
        start += size
    return found


def _decode(held: ray.ObjectRef, span: range, batch_bytes: int, cpus: float) -> MaterializedDataset:
    """The batches of a span in the object store, one row each."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(cpu=max(1.0, cpus))
    steps_a_task = max(1, min(MOST_STEPS_A_TASK, TASK_BYTES // batch_bytes, len(span)))
    rows = ray.data.from_items([{"id": k} for k in span], override_num_blocks=-(-len(span) // steps_a_task))
    return rows.map(DecodeTask(held), num_cpus=min(1.0, cpus)).materialize()
