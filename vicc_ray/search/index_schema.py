"""Columns of the tables of a search index. n windows of a video, F features."""

from __future__ import annotations

import pyarrow as pa

PART_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # path below the video folder, or a data set's published path
        ("file", pa.binary()),  # path below the video folder when indexed
        ("size", pa.int64()),  # file size in bytes and mtime when indexed; -1 where unknown
        ("mtime_ns", pa.int64()),
        ("label", pa.string()),  # "" where unknown
        ("source", pa.string()),
        ("seconds", pa.float64()),
        ("start", pa.list_(pa.float32())),  # of each window, in seconds
        ("end", pa.list_(pa.float32())),
        ("windows", pa.list_(pa.float16())),  # n x F, flattened
        ("mean", pa.list_(pa.float16())),  # F
        ("thumbnail", pa.binary()),  # H.264 in MP4
    ]
)
FACTS = ("id", "file", "size", "mtime_ns", "label", "source", "seconds")
"""Columns that ``videos.arrow`` shares with a part."""
MEAN = b"mean"
"""Metadata of ``videos.arrow``: float32 [F], subtracted from every feature before comparison."""


def videos_schema(width: int) -> pa.Schema:
    """Columns of ``videos.arrow``; F is ``width``."""
    return pa.schema(
        [
            *(PART_SCHEMA.field(name) for name in FACTS),
            ("part", pa.int32()),
            ("row", pa.int32()),
            ("unit", pa.list_(pa.float32(), width)),  # converting from float16 takes ten times as long as comparing
        ]
    )
