"""Search index of videos, on Ray Data: one task or actor call decodes and embeds a shard; flow is not computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy

from vicc_ray.clip_store.schema import FAILURES_FILE, shard_path
from vicc_ray.config import Config
from vicc_ray.datasets import list_videos
from vicc_ray.datasets.locations import Location, location_of
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import find_weights
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.pipelines.cluster.broadcast import get_cached
from vicc_ray.pipelines.cluster.capacity import ClusterCapacity, cluster_capacity
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.task_waits import TaskResources
from vicc_ray.pipelines.inference.index_shard import indexing_spec
from vicc_ray.pipelines.inference.map_videos import usable_gpus
from vicc_ray.pipelines.inference.model_actor import ModelActor
from vicc_ray.pipelines.prepare.sharded_output import ShardedOutput, Videos, show_notes
from vicc_ray.search.index_format import (
    ENCODER_FILE,
    FORMAT,
    INDEX_FILE,
    VIDEOS_FILE,
    Description,
    write_videos,
)
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.sharding.plan import PlannedVideo, ShardPlan, extend_plan, plan_videos
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path
from vicc_ray.utils.visible_text import visible

ACTORS_PER_GPU = 4
"""Actors that share a GPU, each with its own decoder: with a single one the GPU would wait for decoding."""


@dataclass(frozen=True)
class IndexSummary:
    """Counts of an indexing run: ``rows + failures == inputs``."""

    rows: int
    failures: int
    inputs: int
    processed: int = 0
    """Inputs that this call decoded; the others were indexed before."""
    replaced: int = 0
    """Inputs whose file has changed since an earlier call; this call decoded them again."""
    gone: int = 0
    """Videos of the index that are no longer in the folder; they stay in the index."""
    unlisted: int = 0
    """Videos in the folder that the labels do not name; not counted as inputs."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """How the request was interpreted, a line each."""

    def __str__(self) -> str:
        return "\n".join(map(visible, self.lines()))

    def lines(self) -> list[str]:
        """Lines for the user."""
        text = f"{self.inputs} videos: {self.rows} in the index, {self.failures} failed"
        text += f" (see {FAILURES_FILE})" if self.failures else ""
        text += f"; {self.inputs - self.processed} of them were done before" if self.processed < self.inputs else ""
        text += f"; the file of {self.replaced} had been replaced" if self.replaced else ""
        text += f"; {self.gone} are not in the folder any more and stay in the index" if self.gone else ""
        text += f"; {self.unlisted} more are not in the labels" if self.unlisted else ""
        return [text, *self.notes]


def index_videos(
    videos: Path | str,
    folder: Path,
    model: Path | None,
    config: Config,
    labels: Path | str | None = None,
    progress: bool = True,
) -> IndexSummary:
    """Fill the index in ``folder`` with the videos of a folder or address (see :func:`list_videos` for what counts).

    The same call resumes one that was stopped: finished shards stay as they are. New videos, and those whose file has
    another size or mtime than before, go to new shards. All nodes of a cluster must see the folder of the index.

    Args:
        model: as :func:`find_weights` takes it; None: the network of the index.
        config: ``prepare.max_frames``, ``timeout_s``, ``max_failure_rate`` and ``videos_per_shard``,
            ``evaluate.window_overlap``, ``max_windows_per_video`` and ``batch_size``, ``train.use_gpu`` and ``ray``
            count.

    Raises:
        UserError: no such videos, no network in ``model``, an index of another network or with other settings, one
            that cannot be written or is being written, more failures than ``prepare.max_failure_rate``, or no usable
            video.
    """
    files = (INDEX_FILE, ENCODER_FILE, VIDEOS_FILE)
    shards = ShardedOutput(local_path(folder, WRITTEN_HERE).absolute(), "index", "index", "indexing videos", files)
    weights = find_weights(model) if model else _own_network(shards.path)
    inputs = list_videos(videos, labels, config.prepare.split_fold)
    show_notes(inputs, progress)
    description = _describe(weights, location_of(videos), config)
    with shards.locked():
        _check_same(shards.path, description)
        before, wanted = ShardPlan.read(shards.path), plan_videos(inputs.items)
        locations = {item.id: item.location for item in inputs.items}
        plan = _plan(shards.path, before, wanted, locations, config)
        with shards.write_errors():
            if not all((shards.path / name).exists() for name in (INDEX_FILE, ENCODER_FILE)):
                write_weights(shards.path / ENCODER_FILE, weights)
            description.write(shards.path)
            plan.write(shards.path)
        todo = shards.missing(plan)
        if todo:
            with ray_session(config.ray):
                _fill(shards, plan, locations, location_of(videos), weights, description.spec, config, progress)
        with shards.write_errors():
            summary = _summarize(shards, before, plan, wanted, config, description.features)
        processed = sum(len(plan.shards[shard]) for shard in todo)
        return replace(summary, processed=processed, unlisted=inputs.unlisted, notes=inputs.notes)


def _own_network(folder: Path) -> EncoderWeights:
    own = folder / ENCODER_FILE
    if not own.exists():
        raise UserError(f"--model: none given, and {folder} is not an index yet, whose network could be used; name one")
    return read_weights(own)


def _describe(weights: EncoderWeights, videos: Location, config: Config) -> Description:
    return Description(
        format=FORMAT,
        fingerprint=weights.fingerprint,
        backbone=weights.model.backbone,
        features=weights.features,
        spec=WindowSpec.of(weights.clip, weights.crop_share, config),
        videos=str(videos.resolve() if isinstance(videos, Path) else videos),
    )


def _check_same(folder: Path, now: Description) -> None:
    """Reject another network or other windows: the features of one index must be comparable."""
    if not (folder / INDEX_FILE).exists():
        return
    before = Description.read(folder)
    if before.fingerprint != now.fingerprint:
        raise UserError(
            f"the index {folder} was made with the network {before.fingerprint} ({before.backbone}), and --model is "
            f"{now.fingerprint} ({now.backbone}): their features cannot be compared; omit --model to use the network "
            "of the index, or index into another folder"
        )
    keys = {
        "overlap": "evaluate.window_overlap",
        "max_windows": "evaluate.max_windows_per_video",
        "max_frames": "prepare.max_frames",
    }
    was, is_now = before.spec.model_dump(), now.spec.model_dump()
    changed = [
        f"{key} was {was[name]} and is {is_now[name]} now" for name, key in keys.items() if was[name] != is_now[name]
    ]
    if changed:
        raise UserError(
            f"the index {folder} was made with other settings: {', '.join(changed)}; use those settings, or index "
            "into another folder"
        )


def _plan(
    folder: Path,
    before: ShardPlan,
    wanted: Mapping[str, PlannedVideo],
    locations: Mapping[str, Location],
    config: Config,
) -> ShardPlan:
    done = {shard for shard in range(len(before.shards)) if shard_path(folder, shard).exists()}
    _check_labels(folder, {id: video for id, (shard, video) in before.latest().items() if shard in done}, wanted)

    # An unfinished shard keeps only the videos that are still there: the others would fail it as a whole.
    # An index from before file sizes were recorded adopts the files that are there now.
    def current(number: int, video: PlannedVideo) -> PlannedVideo:
        now = wanted.get(video.id, video)
        return replace(video, file=video.file or now.file) if number in done else now

    shards = tuple(
        tuple(current(number, video) for video in shard if number in done or video.id in wanted)
        for number, shard in enumerate(before.shards)
    )
    return extend_plan(folder, replace(before, shards=shards), wanted, locations, config.prepare)


def _check_labels(folder: Path, before: Mapping[str, PlannedVideo], wanted: Mapping[str, PlannedVideo]) -> None:
    """Reject changed labels: rows keep those that they were made with."""
    stay = {id: video for id, video in before.items() if id in wanted and not video.file_changed(wanted[id])}
    changed = [id for id, video in stay.items() if video.label != wanted[id].label]
    if changed:
        was, is_now = stay[changed[0]].label, wanted[changed[0]].label
        raise UserError(
            f"{len(changed)} videos of the index {folder} have another label now ({changed[0]}: {was!r} -> "
            f"{is_now!r}); use the earlier labels, or index into another folder"
        )


def _fill(
    shards: ShardedOutput,
    plan: ShardPlan,
    locations: Mapping[str, Location],
    videos: Location,
    weights: EncoderWeights,
    windows: WindowSpec,
    config: Config,
    progress: bool,
) -> None:
    gpus = usable_gpus(config.train.use_gpu)
    spec = ray.put(indexing_spec(shards.path, videos, weights, windows, config, bool(gpus)))
    actors = _actor_options(gpus, len(plan.shards), cluster_capacity())
    resources = TaskResources(
        {"CPU": 1.0, "GPU": actors["num_gpus"] if actors else 0.0}, config.ray.node_wait_timeout_s
    )
    shards.fill(plan, locations, partial(_build_shard, spec), config.prepare, progress, resources, actors)


def _actor_options(gpus: int, shards: int, cluster: ClusterCapacity) -> dict[str, Any] | None:
    """Arguments of Ray Data's map for actors, which keep their GPU: as many as fit at once; None without GPUs."""
    if not gpus:
        return None
    count = max(1, min(shards, int(cluster.total("CPU")), ACTORS_PER_GPU * gpus))
    fraction = 1 / -(-count // gpus)
    count = max(1, min(count, cluster.places({"CPU": 1.0, "GPU": fraction})))
    return {"compute": ActorPoolStrategy(size=count), "num_gpus": fraction, "num_cpus": 1}


def _build_shard(spec: ray.ObjectRef, shard: int, videos: Videos) -> int:
    failures: int = get_cached(spec, ModelActor)(shard, videos)
    return failures


def _summarize(
    shards: ShardedOutput,
    before: ShardPlan,
    plan: ShardPlan,
    wanted: Mapping[str, PlannedVideo],
    config: Config,
    features: int,
) -> IndexSummary:
    """Merge the results of all shards, and check that every input is accounted for."""
    failures, latest, old = shards.merge_failures(plan), plan.latest(), before.latest()
    rows = write_videos(shards.path, len(plan.shards), features, plan.superseded())
    shards.check_sum(len(latest), rows, failures, config.prepare)
    again = [(old[id][1], video) for id, (shard, video) in latest.items() if id in old and old[id][0] != shard]
    replaced = sum(was.file_changed(video) for was, video in again)
    here = {id for id, video in wanted.items() if video.file}
    gone = len(set(latest) - here - set(failures))
    return IndexSummary(rows, len(failures), len(latest), replaced=replaced, gone=gone)
