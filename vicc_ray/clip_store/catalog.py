"""Catalog of a clip store: the metadata of all videos as Arrow columns; Python objects are created on access.

A video takes 1.3 KB as an object, in every process, and 170 bytes in columns, which the Ray processes of a node share.
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
"""Rows that are converted to objects at a time during iteration."""


@dataclass(frozen=True)
class VideoRecord:
    """Metadata of a stored video, and its position: ``shard`` and ``row`` within it."""

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
    """Records in a fixed order.

    Args:
        table: one column for each field of :class:`VideoRecord`.
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
        """One field of all records."""
        return list(self.table.column(name).to_pylist())

    def where(self, mask: ArrayLike) -> Catalog:
        """Records for which ``mask``, bool [len(self)], is true."""
        return Catalog(self.table.filter(pa.array(np.asarray(mask, np.bool_))))
