"""Fingerprint of stored videos: equal for equal contents, independent of the store's location and sharding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from vicc_ray.clip_store.catalog import Catalog
from vicc_ray.config import PrepareConfig

PER_CALL_SETTINGS = ("timeout_s", "videos_per_shard", "max_failure_rate")
"""Settings that may differ between the runs of ``prepare`` that fill one store."""
CLIP_COLUMNS = ("id", "content", "frames", "height", "width")
"""Columns that determine a video's training clips, together with :func:`pixel_settings`; the id seeds their draws."""
METADATA_COLUMNS = (*CLIP_COLUMNS, "label", "source", "split")
"""The above and the rest of the metadata."""


def pixel_settings(settings: PrepareConfig) -> dict[str, Any]:
    """Prepare settings that determine pixels and flow. ``max_frames`` is not one: each video has its frame count."""
    return settings.model_dump(mode="json", exclude={*PER_CALL_SETTINGS, "split_fold", "test_fraction", "max_frames"})


def videos_fingerprint(entries: Catalog, settings: PrepareConfig, columns: Sequence[str] = METADATA_COLUMNS) -> str:
    """Hash of videos in their order, 16 hexadecimal digits.

    Args:
        settings: prepare settings of the store.
        columns: fields of :class:`~vicc_ray.clip_store.catalog.VideoRecord` to include.
    """
    digest = hashlib.blake2b(json.dumps(pixel_settings(settings), sort_keys=True).encode(), digest_size=8)
    for name in columns:
        values = "\0".join(map(str, entries.column(name)))
        digest.update(f"\0{name}\0{values}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
