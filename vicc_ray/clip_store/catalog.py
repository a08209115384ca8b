"""What is known of the videos of a clip store without reading them: columns in Arrow, an object only of what is asked.

As objects a video takes 1.3 KB, in every process that has the list; as columns 170 bytes, and Ray's processes on a
machine share one copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

_TEXTS, _NUMBERS = ("id", "label", "source", "split", "content"), ("height", "width", "shard", "row")
CATALOG_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        ("frames", pa.int32()),
        ("fps", pa.float64()),
        *((name, pa.int32()) for name in _NUMBERS),
    ]
)
"""Columns of :class:`Catalog`: the fields of :class:`VideoRecord`."""
ROWS_PER_BATCH = 1024
"""Entries that are objects at the same time while all are gone through."""


@dataclass(frozen=True)
class VideoRecord:
    """What is known of a stored video without reading it, and where it lies."""

    id: str
    label: str
    source: str
    split: str
    content: str
    frames: int
    fps: float
    height: int
    width: int
    shard: int
    row: int


class Catalog(Sequence[VideoRecord]):
    """Entries in a fixed order.

    Args:
        table: a column for each field of :class:`VideoRecord`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, at: SupportsIndex) -> VideoRecord: ...
    @overload
    def __getitem__(self, at: slice) -> Catalog: ...
    def __getitem__(self, at: SupportsIndex | slice) -> VideoRecord | Catalog:
        if isinstance(at, slice):
            return Catalog(self.table.take(pa.array(np.arange(len(self))[at])))
        (row,) = self.table.slice(range(len(self))[at], 1).to_pylist()
        return VideoRecord(**row)

    def __iter__(self) -> Iterator[VideoRecord]:
        for start in range(0, len(self), ROWS_PER_BATCH):
            yield from (VideoRecord(**row) for row in self.table.slice(start, ROWS_PER_BATCH).to_pylist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and bool(self.table.equals(other.table))

    __hash__ = None  # type: ignore[assignment]

    def column(self, name: str) -> list[Any]:
        """One field of all entries."""
        return list(self.table.column(name).to_pylist())

    def where(self, chosen: ArrayLike) -> Catalog:
        """Those for which ``chosen``, a truth value for each, holds."""
        return Catalog(self.table.filter(pa.array(np.asarray(chosen, np.bool_))))
