"""Clip stores of which only what is known of the videos counts: no frame in them decodes."""

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
    """Of one of two classes, for training."""
    about = {"id": f"{n:03d}.mp4", "label": "ab"[n % 2], "source": f"{n}", "split": "train", "content": f"{n:032x}"}
    return {**about, "fps": 25.0, "frames": 20, "height": 32, "width": 40, "rgb": [b""], "flow": [b""], **changes}


def store_of(path: Path, rows: Iterable[Row], shards: int = 1, settings: PrepareConfig | None = None) -> ClipStore:
    """A store at ``path`` of these rows, dealt out to its shards."""
    listed = list(rows)
    for shard in range(shards):
        with open_shard_writer(shard_path(path, shard)) as writer:
            for row in listed[shard::shards]:
                writer.write(row)
    write_store_file(path, settings or PrepareConfig(short_side=32), shards)
    return ClipStore(path)
