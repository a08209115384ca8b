"""Something computed of every video by networks that are loaded once a process, on Ray Data. N videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import ray
import ray.data
from ray.exceptions import RayTaskError

from vicc_ray.pipelines.cluster.broadcast import get_cached
from vicc_ray.pipelines.cluster.errors import user_error_in
from vicc_ray.pipelines.cluster.task_waits import TaskResources, report_stalls, reporter
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter
from vicc_ray.utils.progress_bar import ProgressBar

VIDEOS_PER_TASK = 8
STALL_AFTER_S = 60.0
"""Seconds that a task may take without it being asked whether there is room for any."""
Columns = dict[str, np.ndarray]
Worker = Callable[[Columns], Columns]
"""``item`` int [n], places of videos -> the same, and arrays of n rows."""


class VideoTask:
    """The worker of its process: for CPUs, where a task that is lost is simply given to another process."""

    def __init__(self, held: ray.ObjectRef, build: Callable[[Any], Worker]) -> None:
        self._held, self._build = held, build

    def __call__(self, batch: Columns) -> Columns:
        worker: Worker = get_cached(self._held, self._build)
        return worker(batch)


class VideoActor(VideoTask):
    """The same as a Ray Data actor: a process keeps the GPU that it was given first."""


def usable_gpus(use_gpu: str, only_free: bool = False) -> int:
    """GPUs to work with by the setting ``train.use_gpu``; with ``only_free`` those that nobody holds."""
    there = ray.available_resources() if only_free else ray.cluster_resources()
    return int(there.get("GPU", 0)) if use_gpu != "no" else 0


def task_resources(gpus: int, wait_s: float, cpus: float = 1.0, tell: Reporter | None = None) -> TaskResources:
    """What each task takes: CPUs, which read clips, and beside them a GPU where there are any to work with."""
    return TaskResources({"CPU": cpus, **({"GPU": 1.0} if gpus else {})}, wait_s, tell)


def map_videos(
    build: Callable[[Any], Worker],
    work: Any,
    items: Sequence[int],
    gpus: int,
    title: str,
    room: TaskResources,
    progress: bool = True,
    done: int = 0,
) -> Iterator[Columns]:
    """What a worker makes of some videos at a time, in any order.

    Args:
        build: makes the worker of a process of ``work``.
        items: places of the videos.
        gpus: one for each process; 0: on CPUs.
        title: of the progress display; ``done``: videos that were there before.
        room: that each task takes (:func:`task_resources`).

    Raises:
        UserError: from a worker.
    """
    if not len(items):
        return
    held, blocks = ray.put(work), -(-len(items) // VIDEOS_PER_TASK)
    rows = ray.data.from_items([{"item": int(k)} for k in items], override_num_blocks=blocks)
    if gpus:
        pool = ray.data.ActorPoolStrategy(size=min(gpus, blocks))
        given: Any = {"num_cpus": room.bundle["CPU"], "num_gpus": room.bundle["GPU"]}
        made = rows.map_batches(VideoActor, fn_constructor_args=(held, build), compute=pool, **given)
    else:
        made = rows.map_batches(VideoTask(held, build), num_cpus=room.bundle["CPU"])
    with ProgressBar(title, done + len(items), done, progress) as bar:
        tell = room.tell or reporter(bar)
        room.wait(tell)
        try:
            with report_stalls(room.bundle, tell, after_s=STALL_AFTER_S) as stall:
                for batch in made.iter_batches(batch_size=None, batch_format="numpy"):
                    stall.end()
                    yield batch
                    bar.advance(len(batch["item"]))
        except RayTaskError as error:
            raise user_error_in(error) or error from None


def collect_in_order(parts: Iterable[Columns]) -> Columns:
    """All parts as one, without ``item``, rows in the order of it."""
    listed = list(parts)
    order = np.argsort(np.concatenate([part["item"] for part in listed]))
    return {name: np.concatenate([part[name] for part in listed])[order] for name in listed[0] if name != "item"}
