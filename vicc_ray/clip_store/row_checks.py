"""Rows of a clip store that somebody else may have written: looked through before anything in them is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vicc_ray.utils.arrow_file import naming_damage
from vicc_ray.utils.regular_file import open_regular

MAX_MEMORY = 2**31
"""Bytes of the frames of one video, and of all that is known of the videos of a store beside their frames."""
MAX_TEXT_BYTES = 4096
MAX_FRAMES = 2**22
MAX_SIDE = 2**14
"""Height or width of a stored frame."""
_BLOBS = pa.list_(pa.binary())
_BLOBS_ONCE = pa.list_(pa.dictionary(pa.int32(), pa.binary()))
"""As they are read: a frame that a small file repeats a million times is there once."""
_OUTSIDE = r"^/|(^|/)\.\.(/|$)|\x00"
"""In an id: a path that leads out of the folder it is below."""


def check_catalog(table: pa.Table, shards: int, grid: int) -> None:
    """See that what a table says of videos can be: bounds of numbers, lengths of texts, ids that are paths below.

    Args:
        shards: how many the store has.
        grid: what heights and widths are multiples of.

    Raises:
        ValueError: it cannot.
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
            raise ValueError(f"{name} that is no multiple of {grid}")
    _check_bounds("shard", table.column("shard"), 0, shards - 1)
    _check_bounds("row", table.column("row"), 0, 2**31 - 1)
    rates = table.column("fps").to_numpy()
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError("fps that is no number of at least 0")
    outside = table.column("id").filter(pc.match_substring_regex(table.column("id"), _OUTSIDE))
    if len(outside):
        raise ValueError(f"the id {outside[0].as_py()[:200]!r} leads out of the videos folder")


def _check_bounds(what: str, values: pa.ChunkedArray, least: int, most: int) -> None:
    found = pc.min_max(values).as_py()
    if len(values) and not least <= found["min"] <= found["max"] <= most:
        raise ValueError(f"{what} from {found['min']} to {found['max']}; {least} to {most} is allowed")


def open_shard(path: Path, remedy: str) -> pq.ParquetFile:
    """A shard, of which nothing but its description is read; see :func:`read_blobs`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged.
    """
    with naming_damage(path, remedy):
        open_regular(path).close()
        with pq.ParquetFile(path) as file:
            about, fields = file.metadata, [field for field in file.schema_arrow if field.type == _BLOBS]
        once = [f"{field.name}.list.{field.type.value_field.name}" for field in fields]
        return pq.ParquetFile(path, metadata=about, page_checksum_verification=True, read_dictionary=once)


def read_blobs(file: pq.ParquetFile, row: int, names: Sequence[str]) -> list[list[bytes]]:
    """Some columns, lists of binaries, of one row, which is a row group; equal ones are one in memory.

    Raises:
        ValueError, OSError, pa.ArrowException: the row is not there, or not as it is written.
    """
    if not row < file.metadata.num_row_groups:
        raise ValueError(f"no row {row} but {file.metadata.num_row_groups} rows")
    group = file.metadata.row_group(row)  # of its columns nothing is asked: a damaged one would end the process
    if group.num_rows != 1 or not 0 <= group.total_byte_size <= MAX_MEMORY:
        raise ValueError(f"row {row} is not alone in its row group, or of {group.total_byte_size:,} bytes")
    if any(file.schema_arrow.field(name).type != _BLOBS_ONCE for name in names):
        raise ValueError(f"row {row} has columns of other types")
    table = file.read_row_group(row, columns=list(names)).select(list(names))
    if table.num_rows != 1:
        raise ValueError(f"row {row} is not there")
    table.validate(full=True)
    return [_blobs(table.column(name)[0].values) for name in names]


def _blobs(values: pa.DictionaryArray | None) -> list[bytes]:
    if values is None or values.null_count or values.dictionary.null_count:
        raise ValueError("a row lacks frames")
    blobs = values.dictionary.to_pylist()
    return [blobs[index] for index in values.indices.to_pylist()]
