"""The fingerprint of stored videos: equal for equal contents, wherever the store lies and whatever its shards are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from vicc_ray.clip_store.catalog import Catalog
from vicc_ray.config import PrepareConfig

PER_CALL_SETTINGS = ("time_limit_s", "videos_per_shard", "max_failures")
"""Settings that may differ between the calls that fill one store."""
CLIP_COLUMNS = ("id", "content", "frames", "height", "width")
"""What the clips of a video depend on, with :func:`pixel_settings`; its id seeds what is drawn."""
METADATA_COLUMNS = (*CLIP_COLUMNS, "label", "source", "split")
"""And what is known of it beside."""


def pixel_settings(settings: PrepareConfig) -> dict[str, Any]:
    """Those of the preparation that pixels and flow depend on; how many frames are kept, each video tells itself."""
    return settings.model_dump(mode="json", exclude={*PER_CALL_SETTINGS, "fold", "max_frames"})


def videos_fingerprint(entries: Catalog, settings: PrepareConfig, columns: Sequence[str] = METADATA_COLUMNS) -> str:
    """16 hexadecimal digits of some videos in their order.

    Args:
        settings: of the store that has them.
        columns: fields of :class:`~vicc_ray.clip_store.catalog.VideoRecord` that count.
    """
    digest = hashlib.blake2b(json.dumps(pixel_settings(settings), sort_keys=True).encode(), digest_size=8)
    for name in columns:
        values = "\0".join(map(str, entries.column(name)))
        digest.update(f"\0{name}\0{values}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
