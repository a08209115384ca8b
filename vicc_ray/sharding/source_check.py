"""Check that the files of stored videos are unchanged, because rows of a clip store are never replaced."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from vicc_ray.clip_store.row_checks import MAX_MEMORY
from vicc_ray.clip_store.schema import REMEDY, shard_path
from vicc_ray.datasets.locations import Location
from vicc_ray.errors import UserError
from vicc_ray.sharding.plan import PlannedVideo, ShardPlan
from vicc_ray.utils.arrow_file import read_parquet
from vicc_ray.utils.fs import content_digest

CONTENTS = pa.schema([("id", pa.string()), ("content", pa.string())])
READERS = 8
"""Files that are hashed in parallel."""


def check_sources_unchanged(
    store: Path, before: ShardPlan, wanted: Mapping[str, PlannedVideo], locations: Mapping[str, Location]
) -> None:
    """Check that the file of every stored video is unchanged.

    A file of another size counts as changed. A file with the same size and another mtime may be a copy, so its content
    is compared; in object storage it counts as unchanged.

    Raises:
        UserError: files changed.
    """
    latest = before.latest()
    suspects = {id: shard for id, (shard, video) in latest.items() if video.file_changed(wanted[id])}
    contents: dict[str, str] = {}
    for shard in sorted(set(suspects.values())):
        contents |= _contents(store, shard)
    stored = sorted(id for id in suspects if id in contents)  # failures have no row

    def has_changed(id: str) -> bool:
        old, new = latest[id][1].file, wanted[id].file
        return (
            old is not None and new is not None and (old[0] != new[0] or not _has_content(locations[id], contents[id]))
        )

    with ThreadPoolExecutor(READERS) as threads:
        changed = [id for id, is_changed in zip(stored, threads.map(has_changed, stored), strict=True) if is_changed]
    if changed:
        raise UserError(
            f"{len(changed)} video files changed since they were stored in the clip store {store}, for example "
            f"{changed[0]}; restore them, rename them, or prepare into another folder"
        )


def _contents(store: Path, shard: int) -> dict[str, str]:
    """Content digests of a shard's videos, by id; empty if the shard is not finished."""
    path = shard_path(store, shard)
    if not path.exists():
        return {}
    table = read_parquet(path, CONTENTS, REMEDY, MAX_MEMORY)
    return dict(zip(table.column("id").to_pylist(), table.column("content").to_pylist(), strict=True))


def _has_content(location: Location, content: str) -> bool:
    if not isinstance(location, Path):
        return True
    try:
        return content_digest(location) == content
    except OSError:  # an unreadable file is not needed any more
        return True
