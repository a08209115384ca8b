"""Records of truncated videos: those of which a clip store has only the beginning, because the time limit was over.

JSON lines with path, frames and reason: ``part-N.truncated.jsonl`` of a shard, ``truncated.jsonl`` of the store. There
is no file without such videos.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.sharding.plan import ShardPlan
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.jsonl import read_lines

TRUNCATED_FILE = "truncated.jsonl"


def write_truncated(store: Path, shard: int, frames: Mapping[str, int], reason: str) -> None:
    """Write the truncated videos of one shard; ``frames`` is the number of stored frames by id."""
    path = _path(store, shard)
    lines = [json.dumps({"path": id, "frames": number, "reason": reason}) for id, number in frames.items()]
    if lines:
        atomic_write(path, "".join(line + "\n" for line in lines))
    else:
        path.unlink(missing_ok=True)  # left by an earlier shard of this number that was removed


def merge_truncated(store: Path, plan: ShardPlan) -> int:
    """Merge the records of all finished shards into one file; return the number of truncated videos."""
    shards = [shard for shard in range(len(plan.shards)) if shard_path(store, shard).exists()]
    lines = [line for shard in shards for line in map(json.dumps, read_lines(_path(store, shard)))]
    if lines:
        atomic_write(store / TRUNCATED_FILE, "".join(f"{line}\n" for line in sorted(lines)))
    else:
        (store / TRUNCATED_FILE).unlink(missing_ok=True)
    return len(lines)


def _path(store: Path, shard: int) -> Path:
    return store / f"part-{shard:05d}.{TRUNCATED_FILE}"
