"""Something computed of every video by networks that are loaded once a process, on Ray Data. N videos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ray
import ray.data
from ray.exceptions import RayTaskError
from rich.console import Console
from rich.progress import Progress

from vicc_ray.pipelines.held import unpacked
from vicc_ray.pipelines.ray_errors import user_error_in

VIDEOS_A_TASK = 8
Columns = dict[str, np.ndarray]
Worker = Callable[[Columns], Columns]
"""``item`` int [n], places of videos -> the same, and arrays of n rows."""


class VideoTask:
    """The worker of its process: for CPUs, where a task that is lost is simply given to another process."""

    def __init__(self, held: ray.ObjectRef, build: Callable[[Any], Worker]) -> None:
        self._held, self._build = held, build

    def __call__(self, batch: Columns) -> Columns:
        worker: Worker = unpacked(self._held, self._build)
        return worker(batch)


class VideoActor(VideoTask):
    """The same as a Ray Data actor: a process keeps the GPU that it was given first."""


def usable_gpus(use_gpu: str, only_free: bool = False) -> int:
    """GPUs to work with by the setting ``train.use_gpu``; with ``only_free`` those that nobody holds."""
    there = ray.available_resources() if only_free else ray.cluster_resources()
    return int(there.get("GPU", 0)) if use_gpu != "no" else 0


def over_videos(
    build: Callable[[Any], Worker], work: Any, videos: int, gpus: int, title: str, progress: bool = True
) -> Columns:
    """What a worker makes of the videos 0 to N - 1, rows in their order.

    Args:
        build: makes the worker of a process of ``work``.
        videos: N.
        gpus: one for each process; 0: on CPUs.
        title: of the progress display.

    Raises:
        UserError: from a worker.
    """
    held, blocks = ray.put(work), -(-videos // VIDEOS_A_TASK)
    items = ray.data.from_items([{"item": k} for k in range(videos)], override_num_blocks=blocks)
    if gpus:
        pool = ray.data.ActorPoolStrategy(size=min(gpus, blocks))
        made = items.map_batches(VideoActor, fn_constructor_args=(held, build), compute=pool, num_gpus=1)
    else:
        made = items.map_batches(VideoTask(held, build), num_cpus=1)
    parts: list[Columns] = []
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task(title, total=videos)
        try:
            for batch in made.iter_batches(batch_size=None, batch_format="numpy"):
                parts.append(batch)
                bar.advance(task, len(batch["item"]))
        except RayTaskError as error:
            raise user_error_in(error) or error from None
    order = np.argsort(np.concatenate([part["item"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0] if name != "item"}
