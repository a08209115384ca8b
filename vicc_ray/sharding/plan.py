"""Shard plan: the assignment of videos to shards, and the records of finished shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vicc_ray.clip_store.row_checks import open_shard
from vicc_ray.clip_store.schema import REMEDY, shard_path
from vicc_ray.config import PrepareConfig
from vicc_ray.datasets import VideoItem, assign_splits
from vicc_ray.datasets.locations import Location, size_and_mtime
from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_typed
from vicc_ray.utils.jsonl import read_typed_lines

PLAN_FILE = "plan.json"
MIN_SHARDS = 32
"""Smallest number of shards for a list of at least that many videos, so that short lists are processed in parallel."""
SPLIT_SEED = 0
"""Fixed, so that runs with different seeds hold out the same videos."""


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A :class:`VideoItem` without its location, so that a moved videos folder is still the same input.

    Attributes:
        file: size and mtime of the file when it was planned; None if unknown.
    """

    id: str
    label: str
    source: str
    split: str
    file: list[int] | None = None

    def as_json(self) -> dict[str, Any]:
        """Keyword arguments that rebuild it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def file_changed(self, now: PlannedVideo) -> bool:
        """Whether size or mtime of the file differ from ``now``; False if either is unknown."""
        return self.file is not None and now.file is not None and self.file != now.file


@dataclass(frozen=True)
class Failure:
    """Reason why an input has no row, and the :func:`stamp` of its file at that time; without a stamp it is retried."""

    reason: str
    stamp: list[float] | None


@dataclass(frozen=True)
class _PlanFile:
    test_fraction: float | None
    shards: list[list[PlannedVideo]]


@dataclass(frozen=True)
class _FailureLine:
    path: str
    reason: str
    stamp: list[float] | None


@dataclass(frozen=True)
class ShardPlan:
    """Videos of every shard. A video that was processed again is in a later shard too, which supersedes the earlier."""

    shards: tuple[tuple[PlannedVideo, ...], ...] = ()
    test_fraction: float | None = None
    """Fraction of the sources that is held out; None if the videos came with a split."""

    def latest(self) -> dict[str, tuple[int, PlannedVideo]]:
        """Id -> the last shard that contains it, and the video."""
        return {video.id: (shard, video) for shard, videos in enumerate(self.shards) for video in videos}

    def superseded(self) -> dict[int, set[str]]:
        """Shard -> its ids that a later shard contains too."""
        latest = self.latest()
        shards = enumerate(self.shards)
        return {shard: {video.id for video in videos if latest[video.id][0] != shard} for shard, videos in shards}

    def write(self, store: Path) -> None:
        """Write ``plan.json``."""
        shards = [[video.as_json() for video in videos] for videos in self.shards]
        atomic_write(store / PLAN_FILE, json.dumps({"test_fraction": self.test_fraction, "shards": shards}))

    @staticmethod
    def read(store: Path) -> ShardPlan:
        """Read the plan of a store; it is empty if there is none yet."""
        path = store / PLAN_FILE
        if not path.exists():
            return ShardPlan()
        content = read_typed(path, _PlanFile, "a shard plan", f"remove {store}, or use another folder")
        return ShardPlan(tuple(map(tuple, content.shards)), content.test_fraction)


def make_plan(
    store: Path, items: Sequence[VideoItem], settings: PrepareConfig, test_fraction: float, retry: bool = True
) -> ShardPlan:
    """Extend the plan of a store by shards for new videos and for failures to retry.

    Args:
        retry: whether failures are retried; a resumed run does not retry its own failures.

    Raises:
        UserError: a video of the plan is not an input any more, or its metadata changed.
    """
    before = ShardPlan.read(store)
    old = {id: video for id, (_, video) in before.latest().items()}
    held_out = None if any(item.split for item in items) else test_fraction
    if old and held_out != before.test_fraction:
        raise UserError(
            f"the clip store {store} was prepared with {_split_text(before.test_fraction)}, this run has "
            f"{_split_text(held_out)}; use the same setting, or prepare into another folder"
        )
    if held_out is not None:
        known = [replace(item, split=old[item.id].split) if item.id in old else item for item in items]
        items = assign_splits(known, held_out, SPLIT_SEED)
    wanted, locations = plan_videos(items), {item.id: item.location for item in items}
    _check_unchanged(store, old, wanted)
    shards = tuple(tuple(replace(v, file=wanted[v.id].file or v.file) for v in shard) for shard in before.shards)
    return extend_plan(store, ShardPlan(shards), wanted, locations, settings, held_out, retry)


def plan_videos(items: Sequence[VideoItem]) -> dict[str, PlannedVideo]:
    """Inputs by id, with size and mtime of their files."""
    wanted = {}
    for item in items:
        file = size_and_mtime(item.location)
        wanted[item.id] = PlannedVideo(item.id, item.label, item.source, item.split, list(file) if file else None)
    return wanted


def extend_plan(
    folder: Path,
    before: ShardPlan,
    wanted: Mapping[str, PlannedVideo],
    locations: Mapping[str, Location],
    settings: PrepareConfig,
    test_fraction: float | None = None,
    retry: bool = True,
) -> ShardPlan:
    """Append shards to a plan: for videos of ``wanted`` that are new or whose file changed, and for retries.

    With ``retry``, failures are retried if their file or the time limit changed, or if they have no stamp.
    """
    old, failures = before.latest(), read_failures(folder, before)
    failed = {id: failure for id, failure in failures.items() if retry and id in wanted}
    repeated = {id for id, failure in failed.items() if failure.stamp != stamp(locations[id], settings)}
    repeated |= {id for id, (_, video) in old.items() if id in wanted and video.file_changed(wanted[id])}
    new = [video for id, video in sorted(wanted.items()) if id not in old or id in repeated]
    size = max(1, min(settings.videos_per_shard, -(-len(new) // MIN_SHARDS)))
    shards = tuple(tuple(new[start : start + size]) for start in range(0, len(new), size))
    return ShardPlan(before.shards + shards, test_fraction)


def _split_text(test_fraction: float | None) -> str:
    if test_fraction is None:
        return "the split of the labels file"
    return f"prepare.test_fraction {test_fraction:g} held out"


def _check_unchanged(store: Path, old: dict[str, PlannedVideo], wanted: dict[str, PlannedVideo]) -> None:
    gone = sorted(set(old) - set(wanted))
    if gone:
        raise UserError(
            f"{len(gone)} videos of the clip store {store} are missing from the inputs, for example {gone[0]}; "
            "restore them, or prepare into another folder"
        )
    for id, video in old.items():
        for name in ("label", "source", "split"):
            stored, given = getattr(video, name), getattr(wanted[id], name)
            if stored != given:
                raise UserError(
                    f"{name} of {id} is {stored!r} in the clip store {store}, but {given!r} is given; "
                    "restore it, or prepare into another folder"
                )


def failures_path(store: Path, shard: int) -> Path:
    """Path of the failures of one shard: JSON lines with path, reason and stamp."""
    return store / f"part-{shard:05d}.failures.jsonl"


def write_failures(store: Path, shard: int, failures: dict[str, Failure]) -> None:
    """Write the failures of one shard, by id."""
    lines = [json.dumps({"path": id, **asdict(failure)}) for id, failure in failures.items()]
    atomic_write(failures_path(store, shard), "".join(line + "\n" for line in lines))


def read_failures(store: Path, plan: ShardPlan) -> dict[str, Failure]:
    """Failures of all finished shards, by id; for a retried video, those of the last try."""
    latest = plan.latest()
    failures: dict[str, Failure] = {}
    for shard in range(len(plan.shards)):
        if not shard_path(store, shard).exists():
            continue
        for content in read_typed_lines(failures_path(store, shard), _FailureLine):
            if latest.get(content["path"], (None,))[0] == shard:
                failures[content["path"]] = Failure(content["reason"], content["stamp"])
    return failures


def stored_rows(store: Path, shard: int) -> int:
    """Number of rows of a finished shard."""
    with open_shard(shard_path(store, shard), REMEDY) as file:
        return int(file.metadata.num_rows)


def stamp(location: Location, settings: PrepareConfig) -> list[float] | None:
    """Conditions of a failure: size and mtime of the file, and the time limit; None if there is no file."""
    file = size_and_mtime(location)
    return None if file is None else [*file, settings.timeout_s]
