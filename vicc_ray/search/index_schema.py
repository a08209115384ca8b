"""Columns of the tables of a search index. n windows of a video, F features."""

from __future__ import annotations

import pyarrow as pa

PART_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # path below the videos folder, or a data set's published path
        ("file", pa.binary()),  # the path below the videos folder where it was found
        ("size", pa.int64()),  # of the file in bytes, and its time of change, as it was indexed; -1 where unknown
        ("mtime_ns", pa.int64()),
        ("label", pa.string()),  # "" where unknown
        ("source", pa.string()),
        ("seconds", pa.float64()),
        ("start", pa.list_(pa.float32())),  # of each window, in seconds
        ("end", pa.list_(pa.float32())),
        ("windows", pa.list_(pa.float16())),  # n x F, one after the other
        ("mean", pa.list_(pa.float16())),  # F
        ("thumbnail", pa.binary()),  # H.264 in MP4
    ]
)
FACTS = ("id", "file", "size", "mtime_ns", "label", "source", "seconds")
"""Columns of a part that are in ``videos.arrow`` too."""
MEAN = b"mean"
"""Metadata of ``videos.arrow``: float32 [F], subtracted from every feature before it is compared."""


def videos_schema(width: int) -> pa.Schema:
    """Columns of ``videos.arrow``; F is ``width``."""
    return pa.schema(
        [
            *(PART_SCHEMA.field(name) for name in FACTS),
            ("part", pa.int32()),
            ("row", pa.int32()),
            ("unit", pa.list_(pa.float32(), width)),  # to make float32 of float16 took ten times as long as to compare
        ]
    )
