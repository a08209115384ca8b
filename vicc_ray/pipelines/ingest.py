"""Clip store -> batches of one training worker, decoded by Ray Data on whatever CPUs the cluster has.

Each worker builds its own pipelines over the rest of its turn from the plan, one row a batch. So the first batch after
a restart is the very next one, any number of workers can share the global batch, and no epoch drains the pipeline.
b this worker's samples, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import ray.data
import torch
from ray.data.dataset import MaterializedDataset
from torch import Tensor

from vicc_ray.config import ClipConfig, Stream
from vicc_ray.training.plan import Plan
from vicc_ray.video.sample import make_sample, stack_samples
from vicc_ray.video.store import ClipStore, Entry

TASK_BYTES = 32 << 20
"""Batches are made in tasks of about this many bytes: large enough to hide what a task costs, small enough that the
first batch does not wait for many others."""
MOST_STEPS_A_TASK = 8
SPAN_BYTES = 64 << 20
"""Bytes of batches that are decoded ahead as one dataset."""


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of one worker for one global step, counted from the start of the turn's first epoch."""

    store: ClipStore
    entries: list[Entry]
    plan: Plan
    clip: ClipConfig
    streams: tuple[Stream, ...]
    first_epoch: int
    rank: int
    workers: int

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """Row with ``id``, the step -> uint8 clips and parameters of the batch, see :func:`make_sample`."""
        cv2.setNumThreads(1)
        epoch, step = divmod(int(row["id"]), self.plan.epoch_steps)
        epoch += self.first_epoch
        share = self.plan.share(epoch, step, self.rank, self.workers)
        samples = [
            make_sample(self.store, self.entries[i], self.clip, self.streams, self.plan.seed, epoch) for i in share
        ]
        return {**stack_samples(samples), "videos": share}

    @property
    def batch_bytes(self) -> int:
        """Bytes of one batch of this worker."""
        channels = sum({"rgb": 3, "flow": 2}[stream] for stream in self.streams)
        return self.plan.batch // self.workers * 2 * self.clip.frames * self.clip.size**2 * channels


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
    return rows.map(_Made(held), num_cpus=min(1.0, cpus)).materialize()


class _Made:
    """Calls a :class:`BatchMaker` that lies in the object store, so that a task does not carry the list of videos."""

    def __init__(self, held: ray.ObjectRef) -> None:
        self._held = held

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        return _maker(self._held)(row)


_makers: dict[str, BatchMaker] = {}


def _maker(held: ray.ObjectRef) -> BatchMaker:
    """The maker of a reference, unpacked once a process; the newest alone is kept, since a turn uses one."""
    key = held.hex()
    if key not in _makers:
        _makers.clear()
        _makers[key] = ray.get(held)
    return _makers[key]
