"""Validation of a clip store's catalog and rows: a store can come from an untrusted source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vicc_ray.utils.arrow_file import damage_as_user_error
from vicc_ray.utils.regular_file import open_regular

MAX_MEMORY = 2**31
"""Bytes allowed for the frames of one video, and for the metadata of all videos."""
MAX_TEXT_BYTES = 4096
MAX_FRAMES = 2**22
MAX_SIDE = 2**14
"""Height and width allowed for a stored frame."""
_BLOBS = pa.list_(pa.binary())
_BLOBS_ONCE = pa.list_(pa.dictionary(pa.int32(), pa.binary()))
"""Type of these columns when read: a frame that a small file repeats a million times takes memory once."""
_OUTSIDE = r"^/|(^|/)\.\.(/|$)|\x00"
"""Ids that are paths outside the videos folder."""


def check_catalog(table: pa.Table, shards: int, grid: int) -> None:
    """Check the values of a catalog: bounds of numbers, lengths of strings, ids that are relative paths.

    Args:
        shards: number of shards of the store.
        grid: divisor of heights and widths.

    Raises:
        ValueError: a value is out of bounds.
    """
    for name in table.schema.names:
        if table.column(name).null_count:
            raise ValueError(f"a row without {name}")
        if pa.types.is_string(table.schema.field(name).type):
            _check_bounds(f"the length of {name}", pc.binary_length(table.column(name)), 0, MAX_TEXT_BYTES)
    _check_bounds("frames", table.column("frames"), 1, MAX_FRAMES)
    for name in ("height", "width"):
        _check_bounds(name, table.column(name), grid, MAX_SIDE)
        if (table.column(name).to_numpy() % grid).any():
            raise ValueError(f"{name} is not a multiple of {grid}")
    _check_bounds("shard", table.column("shard"), 0, shards - 1)
    _check_bounds("row", table.column("row"), 0, 2**31 - 1)
    rates = table.column("fps").to_numpy()
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError("fps is not a number of at least 0")
    outside = table.column("id").filter(pc.match_substring_regex(table.column("id"), _OUTSIDE))
    if len(outside):
        raise ValueError(f"the id {outside[0].as_py()[:200]!r} is a path outside the videos folder")


def _check_bounds(what: str, values: pa.ChunkedArray, low: int, high: int) -> None:
    bounds = pc.min_max(values).as_py()
    if len(values) and not low <= bounds["min"] <= bounds["max"] <= high:
        raise ValueError(f"{what} is from {bounds['min']} to {bounds['max']}; {low} to {high} is allowed")


def open_shard(path: Path, remedy: str) -> pq.ParquetFile:
    """Open a shard for :func:`read_blobs`; only its footer is read.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: the file is damaged.
    """
    with damage_as_user_error(path, remedy):
        open_regular(path).close()
        with pq.ParquetFile(path) as file:
            metadata, fields = file.metadata, [field for field in file.schema_arrow if field.type == _BLOBS]
        columns = [f"{field.name}.list.{field.type.value_field.name}" for field in fields]
        return pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True, read_dictionary=columns)


def read_blobs(file: pq.ParquetFile, row: int, names: Sequence[str]) -> list[list[bytes]]:
    """Columns of binary lists of one row, which is a row group; equal values share memory.

    Raises:
        ValueError, OSError, pa.ArrowException: the row is missing, or not of the format that is written.
    """
    if not row < file.metadata.num_row_groups:
        raise ValueError(f"no row {row} among {file.metadata.num_row_groups} rows")
    group = file.metadata.row_group(row)  # do not access its columns: damaged column metadata crashes the process
    if group.num_rows != 1 or not 0 <= group.total_byte_size <= MAX_MEMORY:
        raise ValueError(f"row group {row} has {group.num_rows} rows and {group.total_byte_size:,} bytes")
    if any(file.schema_arrow.field(name).type != _BLOBS_ONCE for name in names):
        raise ValueError(f"row {row} has columns of another type")
    table = file.read_row_group(row, columns=list(names)).select(list(names))
    if table.num_rows != 1:
        raise ValueError(f"row {row} is missing")
    table.validate(full=True)
    return [_blobs(table.column(name)[0].values) for name in names]


def _blobs(values: pa.DictionaryArray | None) -> list[bytes]:
    if values is None or values.null_count or values.dictionary.null_count:
        raise ValueError("a row has missing frames")
    blobs = values.dictionary.to_pylist()
    return [blobs[index] for index in values.indices.to_pylist()]
