"""Inference over stored videos on Ray Data: decoding and networks in one task, networks loaded once in a process.

N videos.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import ray
import ray.data
from ray.exceptions import RayTaskError

from vicc_ray.pipelines.cluster.broadcast import get_cached
from vicc_ray.pipelines.cluster.errors import user_error_in
from vicc_ray.pipelines.cluster.task_waits import TaskResources, report_stalls, reporter
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter
from vicc_ray.pipelines.inference.model_actor import InferenceSpec, ModelActor
from vicc_ray.utils.progress_bar import ProgressBar

VIDEOS_PER_TASK = 8
STALL_AFTER_S = 60.0
"""Seconds without a result after which it is checked whether any node has room for a task."""
Columns = dict[str, np.ndarray]
"""Arrays of n rows by name; ``item``, int [n], holds the positions of the videos."""


class MapBatch:
    """Call of a :class:`ModelActor` as Ray Data maps a batch.

    An instance makes tasks, which share the networks of their process; a lost task simply goes to another process. The
    class makes actors, each of which keeps its GPU.
    """

    def __init__(self, spec: ray.ObjectRef) -> None:
        self._spec = spec

    def __call__(self, batch: Columns) -> Columns:
        columns: Columns = get_cached(self._spec, ModelActor)(batch)
        return columns


def usable_gpus(use_gpu: str, only_free: bool = False) -> int:
    """GPUs of the cluster that ``train.use_gpu`` allows; with ``only_free`` those that nobody holds."""
    resources = ray.available_resources() if only_free else ray.cluster_resources()
    return int(resources.get("GPU", 0)) if use_gpu != "no" else 0


def task_resources(gpus: int, wait_s: float, cpus: float = 1.0, tell: Reporter | None = None) -> TaskResources:
    """Resources of each task: CPUs, which read clips, and a GPU where there are any to use."""
    return TaskResources({"CPU": cpus, **({"GPU": 1.0} if gpus else {})}, wait_s, tell)


def map_videos(
    spec: InferenceSpec,
    items: Sequence[int],
    gpus: int,
    title: str,
    resources: TaskResources,
    progress: bool = True,
    done: int = 0,
) -> Iterator[Columns]:
    """Results of a spec for some videos at a time, in any order.

    Args:
        spec: its ``run`` takes and returns :data:`Columns`.
        items: positions of the videos.
        gpus: one for each actor; 0: tasks on CPUs.
        title: of the progress display; ``done``: videos with a result from an earlier call.
        resources: of each task (:func:`task_resources`).

    Raises:
        UserError: from a task.
    """
    if not len(items):
        return
    ref, blocks = ray.put(spec), -(-len(items) // VIDEOS_PER_TASK)
    rows = ray.data.from_items([{"item": int(k)} for k in items], override_num_blocks=blocks)
    if gpus:
        pool = ray.data.ActorPoolStrategy(size=min(gpus, blocks))
        amounts: Any = {"num_cpus": resources.bundle["CPU"], "num_gpus": resources.bundle["GPU"]}
        results = rows.map_batches(MapBatch, fn_constructor_args=(ref,), compute=pool, **amounts)
    else:
        results = rows.map_batches(MapBatch(ref), num_cpus=resources.bundle["CPU"])
    with ProgressBar(title, done + len(items), done, progress) as bar:
        tell = resources.tell or reporter(bar)
        resources.wait(tell)
        try:
            with report_stalls(resources.bundle, tell, after_s=STALL_AFTER_S) as stall:
                for batch in results.iter_batches(batch_size=None, batch_format="numpy"):
                    stall.restart()
                    yield batch
                    bar.advance(len(batch["item"]))
        except RayTaskError as error:
            raise user_error_in(error) or error from None


def collect_in_order(batches: Iterable[Columns]) -> Columns:
    """All batches as one, without ``item``, rows in the order of it."""
    listed = list(batches)
    order = np.argsort(np.concatenate([batch["item"] for batch in listed]))
    return {name: np.concatenate([batch[name] for batch in listed])[order] for name in listed[0] if name != "item"}
