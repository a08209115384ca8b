"""Which videos make which shard of a clip store, and what is known of the shards that are done."""

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
from vicc_ray.utils.json_file import read_as
from vicc_ray.utils.jsonl import read_typed_lines

PLAN_FILE = "plan.json"
MIN_SHARDS = 32
"""Shards that a list of videos is cut into at least, if it has so many: parallel work also for few videos."""
SPLIT_SEED = 0
"""Fixed, so that runs with other seeds hold out the same videos."""


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """One input, as :class:`VideoItem` without its place: a moved videos folder is still the same input.

    Attributes:
        file: size and time of change of its file when it was planned, where what is made of it follows the file.
    """

    id: str
    label: str
    source: str
    split: str
    file: list[int] | None = None

    def as_json(self) -> dict[str, Any]:
        """What ``PlannedVideo(**content)`` makes the same of."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def file_changed(self, now: PlannedVideo) -> bool:
        """Whether the file has been replaced by another; not where it is unknown, or gone."""
        return self.file is not None and now.file is not None and self.file != now.file


@dataclass(frozen=True)
class Failure:
    """Why an input gave no row, and the :func:`stamp` of its file then; None where it could not be read at all."""

    reason: str
    stamp: list[float] | None


@dataclass(frozen=True)
class _PlanFile:
    test_share: float | None
    shards: list[list[PlannedVideo]]


@dataclass(frozen=True)
class _FailureLine:
    path: str
    reason: str
    stamp: list[float] | None


@dataclass(frozen=True)
class ShardPlan:
    """The videos of every shard. Of a video that was made anew, in a later shard, that shard counts."""

    shards: tuple[tuple[PlannedVideo, ...], ...] = ()
    test_share: float | None = None
    """Share of the sources that was held out; None where the videos came with a split."""

    def latest(self) -> dict[str, tuple[int, PlannedVideo]]:
        """Of every id, the last shard that has it, and the video."""
        return {video.id: (shard, video) for shard, videos in enumerate(self.shards) for video in videos}

    def superseded(self) -> dict[int, set[str]]:
        """Of every shard, the ids that a later one has too."""
        latest = self.latest()
        shards = enumerate(self.shards)
        return {shard: {video.id for video in videos if latest[video.id][0] != shard} for shard, videos in shards}

    def write(self, store: Path) -> None:
        """Write ``plan.json``."""
        shards = [[video.as_json() for video in videos] for videos in self.shards]
        atomic_write(store / PLAN_FILE, json.dumps({"test_share": self.test_share, "shards": shards}))

    @staticmethod
    def read(store: Path) -> ShardPlan:
        """The plan of a store; an empty one where there is none yet."""
        path = store / PLAN_FILE
        if not path.exists():
            return ShardPlan()
        content = read_as(path, _PlanFile, "the plan of a folder", f"remove {store}, or give another folder")
        return ShardPlan(tuple(map(tuple, content.shards)), content.test_share)


def make_plan(
    store: Path, items: Sequence[VideoItem], settings: PrepareConfig, test_share: float, retry: bool = True
) -> ShardPlan:
    """The plan of the store so far, and new shards for the videos that are not in it and for failures to try again.

    Args:
        retry: whether failures are tried again; a run that has begun goes on without them.

    Raises:
        UserError: a video of the plan is no longer an input, or what is known of it has changed.
    """
    before = ShardPlan.read(store)
    old = {id: video for id, (_, video) in before.latest().items()}
    held_out = None if any(item.split for item in items) else test_share
    if old and held_out != before.test_share:
        raise UserError(
            f"the clip store {store} was begun with {_split_words(before.test_share)}, now it would be "
            f"{_split_words(held_out)}; keep it as it was, or prepare into another folder"
        )
    if held_out is not None:
        known = [replace(item, split=old[item.id].split) if item.id in old else item for item in items]
        items = assign_splits(known, held_out, SPLIT_SEED)
    wanted, locations = plan_videos(items), {item.id: item.location for item in items}
    _check_unchanged(store, old, wanted)
    shards = tuple(tuple(replace(v, file=wanted[v.id].file or v.file) for v in shard) for shard in before.shards)
    return extend_plan(store, ShardPlan(shards), wanted, locations, settings, held_out, retry)


def plan_videos(items: Sequence[VideoItem]) -> dict[str, PlannedVideo]:
    """The inputs by id, with what tells their files from others."""
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
    test_share: float | None = None,
    retry: bool = True,
) -> ShardPlan:
    """The plan so far, with new shards for what of ``wanted`` is not in it or has another file, and (``retry``) for
    failures whose file has changed, or which have no stamp.
    """
    old, failures = before.latest(), read_failures(folder, before)
    failed = {id: was for id, was in failures.items() if retry and id in wanted}
    again = {id for id, was in failed.items() if was.stamp != stamp(locations[id], settings)}
    again |= {id for id, (_, video) in old.items() if id in wanted and video.file_changed(wanted[id])}
    new = [video for id, video in sorted(wanted.items()) if id not in old or id in again]
    size = max(1, min(settings.videos_per_shard, -(-len(new) // MIN_SHARDS)))
    shards = tuple(tuple(new[start : start + size]) for start in range(0, len(new), size))
    return ShardPlan(before.shards + shards, test_share)


def _split_words(test_share: float | None) -> str:
    if test_share is None:
        return "the split of the labels file"
    return f"evaluate.test_share {test_share:g} held out"


def _check_unchanged(store: Path, old: dict[str, PlannedVideo], wanted: dict[str, PlannedVideo]) -> None:
    gone = sorted(set(old) - set(wanted))
    if gone:
        raise UserError(
            f"{len(gone)} videos of the clip store {store} are not among the inputs any more, {gone[0]} for one; "
            "put them back, or prepare into another folder"
        )
    for id, video in old.items():
        for name in ("label", "source", "split"):
            was, is_now = getattr(video, name), getattr(wanted[id], name)
            if was != is_now:
                raise UserError(
                    f"{name} of {id} is {was!r} in the clip store {store} and {is_now!r} now; "
                    "put it back, or prepare into another folder"
                )


def failures_path(store: Path, shard: int) -> Path:
    """The failures of one shard: JSON lines with path, reason and stamp."""
    return store / f"part-{shard:05d}.failures.jsonl"


def write_failures(store: Path, shard: int, failures: dict[str, Failure]) -> None:
    """Write the failures of one shard, by id."""
    lines = [json.dumps({"path": id, **asdict(failure)}) for id, failure in failures.items()]
    atomic_write(failures_path(store, shard), "".join(line + "\n" for line in lines))


def read_failures(store: Path, plan: ShardPlan) -> dict[str, Failure]:
    """The failures of all finished shards, by id; of a video that was tried again, the last try."""
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
    """Rows of a finished shard."""
    with open_shard(shard_path(store, shard), REMEDY) as file:
        return int(file.metadata.num_rows)


def stamp(location: Location, settings: PrepareConfig) -> list[float] | None:
    """What a failure depends on: the file's size and time of change, and the time limit; None where no file is."""
    file = size_and_mtime(location)
    return None if file is None else [*file, settings.time_limit_s]
