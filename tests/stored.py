"""Clip stores with metadata only: no frame in them decodes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import shard_path, write_store_file
from vicc_ray.clip_store.writer import open_shard_writer
from vicc_ray.config import PrepareConfig

Row = dict[str, Any]


def video(n: int, **changes: Any) -> Row:
    """Row of a training video of one of two classes."""
    metadata = {"id": f"{n:03d}.mp4", "label": "ab"[n % 2], "source": f"{n}", "split": "train", "content": f"{n:032x}"}
    return {**metadata, "fps": 25.0, "frames": 20, "height": 32, "width": 40, "rgb": [b""], "flow": [b""], **changes}


def store_of(path: Path, rows: Iterable[Row], shards: int = 1, settings: PrepareConfig | None = None) -> ClipStore:
    """Write a store of these rows, distributed round-robin to its shards."""
    rows = list(rows)
    for shard in range(shards):
        with open_shard_writer(shard_path(path, shard)) as writer:
            for row in rows[shard::shards]:
                writer.write(row)
    write_store_file(path, settings or PrepareConfig(short_side=32), shards)
    return ClipStore(path)
