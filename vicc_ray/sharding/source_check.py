"""Whether the files of stored videos are still those that were stored: a row of a clip store is not replaced."""

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
"""Files that are read at the same time."""


def check_sources_unchanged(
    store: Path, before: ShardPlan, wanted: Mapping[str, PlannedVideo], locations: Mapping[str, Location]
) -> None:
    """See that no stored video has another file now; files that were copied, with other times, are the same.

    A file of another size is another one. One of the same size and another time is read to tell; over a network it is
    taken to be the same.

    Raises:
        UserError: videos have other files.
    """
    latest = before.latest()
    suspects = {id: shard for id, (shard, video) in latest.items() if video.file_changed(wanted[id])}
    contents: dict[str, str] = {}
    for shard in sorted(set(suspects.values())):
        contents |= _contents(store, shard)
    looked_at = sorted(id for id in suspects if id in contents)  # of failures there is no row

    def is_other(id: str) -> bool:
        was, now = latest[id][1].file, wanted[id].file
        return was is not None and now is not None and (was[0] != now[0] or not _holds(locations[id], contents[id]))

    with ThreadPoolExecutor(READERS) as threads:
        changed = [id for id, other in zip(looked_at, threads.map(is_other, looked_at), strict=True) if other]
    if changed:
        raise UserError(
            f"the files of {len(changed)} videos are other ones than those that are in the clip store {store}, "
            f"{changed[0]} for one; put them back, give them other names, or prepare into another folder"
        )


def _contents(store: Path, shard: int) -> dict[str, str]:
    """Digests of the files whose videos a finished shard has, by id."""
    path = shard_path(store, shard)
    if not path.exists():
        return {}
    table = read_parquet(path, CONTENTS, REMEDY, MAX_MEMORY)
    return dict(zip(table.column("id").to_pylist(), table.column("content").to_pylist(), strict=True))


def _holds(location: Location, content: str) -> bool:
    if not isinstance(location, Path):
        return True
    try:
        return content_digest(location) == content
    except OSError:  # it cannot be read now, and need not be
        return True
