"""Videos to search index with Ray Data: RGB is decoded and embedded in one go, part by part; no flow is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import ray
import torch
from ray.data import ActorPoolStrategy

from vicc_ray.clip_store.schema import FAILURES_FILE, shard_path
from vicc_ray.clip_store.writer import open_shard_writer
from vicc_ray.config import Config
from vicc_ray.datasets import list_videos
from vicc_ray.datasets.locations import Location, location_of
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import PretrainedEncoder, find_weights
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.pipelines.cluster.broadcast import get_cached
from vicc_ray.pipelines.cluster.capacity import ClusterCapacity, cluster_capacity
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.task_waits import TaskResources
from vicc_ray.pipelines.inference.map_videos import usable_gpus
from vicc_ray.pipelines.prepare.sharded_output import ShardedOutput, Videos, tell_notes
from vicc_ray.search.features import embed_pieces
from vicc_ray.search.index_format import (
    ENCODER_FILE,
    FORMAT,
    INDEX_FILE,
    VIDEOS_FILE,
    Description,
    part_row,
    write_videos,
)
from vicc_ray.search.index_schema import PART_SCHEMA
from vicc_ray.search.video_folder import UNKNOWN
from vicc_ray.search.window_spec import View
from vicc_ray.search.windows import read_pieces
from vicc_ray.sharding.plan import PlannedVideo, ShardPlan, extend_plan, plan_videos
from vicc_ray.sharding.task import write_shard
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path
from vicc_ray.utils.visible_text import visible

ACTORS_PER_GPU = 4
"""Processes that decode for one GPU, and embed on it: a single one would let it wait for the decoder."""


@dataclass(frozen=True)
class IndexSummary:
    """What became of the inputs: ``rows + failures == inputs``."""

    rows: int
    failures: int
    inputs: int
    processed: int = 0
    """Inputs that this call decoded; the others were done before."""
    replaced: int = 0
    """Inputs whose file is another one than when they were looked at before; this call decoded them anew."""
    gone: int = 0
    """Videos of the index that the folder does not have any more; they stay."""
    unlisted: int = 0
    """Videos in the folder that the labels do not name; they are no inputs."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """How the request was understood, a line each."""

    def __str__(self) -> str:
        return "\n".join(map(visible, self.lines()))

    def lines(self) -> list[str]:
        """What is told of it."""
        text = f"{self.inputs} videos: {self.rows} in the index, {self.failures} failed"
        text += f" (see {FAILURES_FILE})" if self.failures else ""
        text += f"; {self.inputs - self.processed} of them were done before" if self.processed < self.inputs else ""
        text += f"; the file of {self.replaced} had been replaced" if self.replaced else ""
        text += f"; {self.gone} are not in the folder any more and stay in the index" if self.gone else ""
        text += f"; {self.unlisted} more are not in the labels" if self.unlisted else ""
        return [text, *self.notes]


@dataclass(frozen=True)
class Work:
    """What every process needs."""

    folder: Path
    videos: Location
    weights: EncoderWeights
    view: View
    config: Config
    use_gpu: bool


class Indexer:
    """The network of a :class:`Work`, ready in its process."""

    def __init__(self, work: Work) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self._work = work
        device = torch.device("cuda" if work.use_gpu else "cpu")
        self._encoder = optimize_for_inference(PretrainedEncoder(work.weights).eval(), device)

    def make(self, part: int, videos: Videos) -> int:
        """Write one part of the index; see :func:`write_shard`."""
        work = self._work
        files = {video.id: _name_below(work.videos, location) for location, video in videos}

        def row(path: Path, video: PlannedVideo) -> dict[str, Any]:
            pieces = read_pieces(path, work.view, work.config.prepare.timeout_s)
            found = embed_pieces(self._encoder, pieces, work.config.evaluate.batch_size)
            stamp = video.file or UNKNOWN
            return part_row(video.id, video.label, video.source, files[video.id], stamp, found)

        writing = open_shard_writer(shard_path(work.folder, part), PART_SCHEMA)
        return write_shard(work.folder, part, videos, work.config.prepare, writing, row)


def _name_below(folder: Location, location: Location) -> bytes:
    """Where a video lies in its folder."""
    if isinstance(folder, Path) and isinstance(location, Path):
        return os.fsencode(os.path.relpath(location, folder))
    return str(getattr(location, "name", location)).encode()


def index_videos(
    videos: Path | str,
    folder: Path,
    model: Path | None,
    config: Config,
    labels: Path | str | None = None,
    progress: bool = True,
) -> IndexSummary:
    """Fill the index in ``folder`` with the videos of a folder or address (see :func:`list_videos` for what counts).

    A call that was stopped is continued by the same call: finished parts stay as they are. New videos, and those whose
    file has another size or time of change than before, make new parts. The folder of the index must be visible to all
    machines of a cluster.

    Args:
        model: what :func:`find_weights` takes; None: the network that the index has.
        config: ``prepare.max_frames``, ``timeout_s``, ``max_failures`` and ``videos_per_shard``,
            ``evaluate.window_overlap``, ``max_windows_per_video`` and ``batch_size``, ``train.use_gpu`` and ``ray``
            count.

    Raises:
        UserError: no such videos, no network in ``model``, an index of another network or of other settings, one that
            cannot be written or is being written, more failures than ``prepare.max_failure_rate``, or not a single
            video that could be used.
    """
    files = (INDEX_FILE, ENCODER_FILE, VIDEOS_FILE)
    parts = ShardedOutput(local_path(folder, WRITTEN_HERE).absolute(), "index", "index", "indexing videos", files)
    weights = find_weights(model) if model else _own_network(parts.path)
    inputs = list_videos(videos, labels, config.prepare.split_fold)
    tell_notes(inputs, progress)
    description = _describe(weights, location_of(videos), config)
    with parts.locked():
        _check_same(parts.path, description)
        before, wanted = ShardPlan.read(parts.path), plan_videos(inputs.items)
        locations = {item.id: item.location for item in inputs.items}
        plan = _plan(parts.path, before, wanted, locations, config)
        with parts.write_errors():
            if not all((parts.path / name).exists() for name in (INDEX_FILE, ENCODER_FILE)):
                write_weights(parts.path / ENCODER_FILE, weights)
            description.write(parts.path)
            plan.write(parts.path)
        todo = parts.missing(plan)
        if todo:
            with ray_session(config.ray):
                _fill(parts, plan, locations, location_of(videos), weights, description.view, config, progress)
        with parts.write_errors():
            summary = _summarise(parts, before, plan, wanted, config, description.features)
        processed = sum(len(plan.shards[part]) for part in todo)
        return replace(summary, processed=processed, unlisted=inputs.unlisted, notes=inputs.notes)


def _own_network(folder: Path) -> EncoderWeights:
    own = folder / ENCODER_FILE
    if not own.exists():
        raise UserError(f"--model: say which network makes the features; {folder} is no index yet, which would have it")
    return read_weights(own)


def _describe(weights: EncoderWeights, videos: Location, config: Config) -> Description:
    return Description(
        format=FORMAT,
        fingerprint=weights.fingerprint,
        backbone=weights.model.backbone,
        features=weights.features,
        view=View.of(weights.clip, config),
        videos=str(videos.resolve() if isinstance(videos, Path) else videos),
    )


def _check_same(folder: Path, now: Description) -> None:
    """The features of one index must be comparable."""
    if not (folder / INDEX_FILE).exists():
        return
    before = Description.read(folder)
    if before.fingerprint != now.fingerprint:
        raise UserError(
            f"the index {folder} was made with the network {before.fingerprint} ({before.backbone}), and --model is "
            f"{now.fingerprint} ({now.backbone}): their features cannot be compared; leave --model out to go on with "
            "the network of the index, or index into another folder"
        )
    keys = {
        "overlap": "evaluate.window_overlap",
        "max_windows": "evaluate.max_windows_per_video",
        "max_frames": "prepare.max_frames",
    }
    was, is_now = before.view.model_dump(), now.view.model_dump()
    changed = [
        f"{key} was {was[name]} and is {is_now[name]} now" for name, key in keys.items() if was[name] != is_now[name]
    ]
    if changed:
        raise UserError(
            f"the index {folder} was begun with other settings: {', '.join(changed)}; use the settings of before, or "
            "index into another folder"
        )


def _plan(
    folder: Path,
    before: ShardPlan,
    wanted: Mapping[str, PlannedVideo],
    locations: Mapping[str, Location],
    config: Config,
) -> ShardPlan:
    done = {part for part in range(len(before.shards)) if shard_path(folder, part).exists()}
    _check_labels(folder, {id: video for id, (part, video) in before.latest().items() if part in done}, wanted)

    # A part that was begun and whose videos have gone since would fail as a whole: what is left of it is made.
    # An index of before files were noted takes those that are there now for its own.
    def known(part: int, video: PlannedVideo) -> PlannedVideo:
        now = wanted.get(video.id, video)
        return replace(video, file=video.file or now.file) if part in done else now

    shards = tuple(
        tuple(known(part, video) for video in shard if part in done or video.id in wanted)
        for part, shard in enumerate(before.shards)
    )
    return extend_plan(folder, replace(before, shards=shards), wanted, locations, config.prepare)


def _check_labels(folder: Path, before: Mapping[str, PlannedVideo], wanted: Mapping[str, PlannedVideo]) -> None:
    """Rows keep the labels that they were made with."""
    stay = {id: video for id, video in before.items() if id in wanted and not video.file_changed(wanted[id])}
    changed = [id for id, video in stay.items() if video.label != wanted[id].label]
    if changed:
        was, is_now = stay[changed[0]].label, wanted[changed[0]].label
        raise UserError(
            f"{len(changed)} videos of the index {folder} have another label now ({changed[0]}: {was!r} -> "
            f"{is_now!r}); give the labels of before, or index into another folder"
        )


def _fill(
    parts: ShardedOutput,
    plan: ShardPlan,
    locations: Mapping[str, Location],
    videos: Location,
    weights: EncoderWeights,
    view: View,
    config: Config,
    progress: bool,
) -> None:
    gpus = usable_gpus(config.train.use_gpu)
    held = ray.put(Work(parts.path, videos, weights, view, config, bool(gpus)))
    actors = _actors(gpus, len(plan.shards), cluster_capacity())
    room = TaskResources({"CPU": 1.0, "GPU": actors["num_gpus"] if actors else 0.0}, config.ray.node_wait_timeout_s)
    parts.fill(plan, locations, partial(_make_part, held), config.prepare, progress, room, actors)


def _actors(gpus: int, parts: int, there: ClusterCapacity) -> dict[str, Any] | None:
    """A process keeps the GPU that it was given first, so it is an actor; there are as many as find room at once."""
    if not gpus:
        return None
    processes = max(1, min(parts, int(there.total("CPU")), ACTORS_PER_GPU * gpus))
    share = 1 / -(-processes // gpus)
    processes = max(1, min(processes, there.places({"CPU": 1.0, "GPU": share})))
    return {"compute": ActorPoolStrategy(size=processes), "num_gpus": share, "num_cpus": 1}


def _make_part(held: ray.ObjectRef, part: int, videos: Videos) -> int:
    indexer: Indexer = get_cached(held, Indexer)
    return indexer.make(part, videos)


def _summarise(
    parts: ShardedOutput,
    before: ShardPlan,
    plan: ShardPlan,
    wanted: Mapping[str, PlannedVideo],
    config: Config,
    features: int,
) -> IndexSummary:
    """Merge what the parts tell, and check that every input is accounted for."""
    failures, latest, old = parts.merge_failures(plan), plan.latest(), before.latest()
    rows = write_videos(parts.path, len(plan.shards), features, plan.superseded())
    parts.check_sum(len(latest), rows, failures, config.prepare)
    again = [(old[id][1], video) for id, (part, video) in latest.items() if id in old and old[id][0] != part]
    replaced = sum(was.file_changed(video) for was, video in again)
    here = {id for id, video in wanted.items() if video.file}
    gone = len(set(latest) - here - set(failures))
    return IndexSummary(rows, len(failures), len(latest), replaced=replaced, gone=gone)
