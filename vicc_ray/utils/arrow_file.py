"""Validating readers for untrusted Arrow and Parquet files.

Arrow's own readers trust the offsets and lengths in a file; a wrong one crashes the process or exposes other memory.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import unreadable
from vicc_ray.utils.regular_file import open_regular

MAGIC = b"ARROW1"
_HEADER, _COMPRESSION = 2, 3
"""Fields of Arrow's flatbuffers: ``Message.header`` and ``RecordBatch.compression``."""
LARGEST_COPY = 2**33
"""Largest file of another account, in bytes; such files are copied into memory."""
_SPARSE, _DENSITY = 2**24, 8
"""A file of more than ``_SPARSE`` bytes that occupies less than 1/``_DENSITY`` of its size on disk counts as sparse.

Compressing file systems stay above that ratio.
"""
WIDEST = 8
"""Assumed bytes of one value, to estimate the memory of a table."""


@contextmanager
def damage_as_user_error(path: Path, remedy: str) -> Iterator[None]:
    """Raise Arrow's errors on a damaged file as a UserError with path and remedy; FileNotFoundError passes."""
    try:
        yield
    except (FileNotFoundError, UserError):
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise (unreadable(path) or UserError(f"{path} is damaged ({reason}); {remedy}")) from None


def read_arrow(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """Memory-mapped table of an Arrow file with its metadata; every offset is validated.

    A file of another account is copied instead, because its owner could truncate it while it is mapped.

    Args:
        schema: required columns and types; metadata is not compared.
        remedy: what the user should do about a damaged file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is damaged, compressed, or has another schema.
    """
    with damage_as_user_error(path, remedy):
        content = _content(path)
        if content.size < 32 or bytes(content[:6]) != MAGIC or bytes(content[content.size - 6 :]) != MAGIC:
            raise ValueError("not a complete Arrow file")
        stream = pa.BufferReader(content.slice(8))
        messages = pa.ipc.MessageReader.open_stream(stream)
        stored = pa.ipc.read_schema(messages.read_next_message())
        _check_schema(stored, schema)
        table = pa.Table.from_batches([_batch(message, stored) for message in messages], stored)
        (footer,) = struct.unpack("<i", content[content.size - 10 : content.size - 6])
        if 8 + stream.tell() + footer + 10 != content.size:
            raise ValueError("truncated, or with data after its batches")
        table.validate(full=True)
    return table


def open_parquet(path: Path, schema: pa.Schema, remedy: str, largest: int) -> pq.ParquetFile:
    """Open Parquet file with consistent metadata; page checksums are verified on reading.

    Args:
        schema: required columns by name and type; more columns are allowed.
        remedy: what the user should do about a damaged file.
        largest: most bytes of memory for one row group.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is damaged, has another schema, or needs more memory.
    """
    with damage_as_user_error(path, remedy):
        open_regular(path).close()
        file = pq.ParquetFile(path, page_checksum_verification=True)
        try:
            _check_schema(file.schema_arrow, schema, also=True)
            _check_groups(file.metadata, largest)
        except BaseException:
            file.close()
            raise
    return file


def read_parquet(path: Path, schema: pa.Schema, remedy: str, largest: int) -> pa.Table:
    """Table of the columns in ``schema`` of a Parquet file with its metadata; every offset is validated.

    Args:
        remedy: what the user should do about a damaged file.
        largest: most bytes of memory for these columns.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is damaged, lacks a column, or needs more memory.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with open_parquet(path, schema, remedy, largest) as checked, damage_as_user_error(path, remedy):
        _check_rows(checked.metadata, schema, largest)
        # A million rows may share one long text; as a dictionary it is stored once until the total size is known.
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts) as file:
            table = file.read(columns=schema.names)
        if (memory := sum(text_bytes(table.column(name)) for name in texts)) > largest:
            raise ValueError(f"its texts would take {memory:,} bytes of memory; {largest:,} are allowed")
        table = table.select(schema.names).cast(schema.with_metadata(table.schema.metadata))
        table.validate(full=True)
    return table


def _check_rows(metadata: pq.FileMetaData, schema: pa.Schema, largest: int) -> None:
    if metadata.num_rows * WIDEST * len(schema) > largest:
        raise ValueError(f"{metadata.num_rows:,} rows would take more than the {largest:,} bytes of memory allowed")


def text_bytes(column: pa.ChunkedArray) -> int:
    """Size in bytes of a dictionary-encoded string column after decoding."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    for chunk in chunks:
        chunk.validate(full=True)
    return sum(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0 for chunk in chunks)


def _check_schema(stored: pa.Schema, wanted: pa.Schema, also: bool = False) -> None:
    """Raise ValueError unless the columns are those of ``wanted``; ``also`` allows more columns."""
    for field in wanted:
        if len(stored.get_all_field_indices(field.name)) != 1:
            raise ValueError(f"no column {field.name}, or several")
        if stored.field(field.name).type != field.type:
            raise ValueError(f"column {field.name} is {str(stored.field(field.name).type)[:80]}, not {field.type}")
    if not also and stored.names != wanted.names:
        raise ValueError(f"columns other than {', '.join(wanted.names)}")


def _check_groups(metadata: pq.FileMetaData, largest: int) -> None:
    """Check the sizes of row groups. Column metadata is not read: a damaged one crashes the process."""
    rows = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.num_rows < 0 or not 0 <= group.total_byte_size <= largest:
            raise ValueError(f"row group {number} of {group.total_byte_size:,} bytes; {largest:,} are allowed")
        rows += group.num_rows
    if rows != metadata.num_rows:
        raise ValueError(f"{metadata.num_rows} rows in the footer, {rows} in the row groups")


def _content(path: Path) -> pa.Buffer:
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        if status.st_uid not in (os.geteuid(), 0):
            _check_copy(status)
            return pa.py_buffer(file.read(status.st_size))
    with pa.memory_map(str(path)) as mapped:
        return mapped.read_buffer()


def _check_copy(status: os.stat_result) -> None:
    if status.st_size > LARGEST_COPY:
        raise ValueError(f"{status.st_size:,} bytes, owned by another account; at most {LARGEST_COPY:,} are allowed")
    if status.st_size > max(_SPARSE, status.st_blocks * 512 * _DENSITY):
        raise ValueError(f"sparse: {status.st_size:,} bytes, {status.st_blocks * 512:,} of them on disk")


def _batch(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """Record batch of a message. Compressed batches are refused: a small file could fill the memory."""
    metadata = message.metadata.to_pybytes()
    header = _follow(metadata, _field(metadata, _follow(metadata, 0), _HEADER))
    if message.type != "record batch" or _field(metadata, header, _COMPRESSION):
        raise ValueError("a compressed batch, or a message without rows")
    return pa.ipc.read_record_batch(message, schema)


def _field(metadata: bytes, table: int, number: int) -> int:
    """Position of a field in a flatbuffer table; 0 if it is absent."""
    try:
        layout = table - struct.unpack_from("<i", metadata, table)[0]
        (size,) = struct.unpack_from("<H", metadata, layout)
        offset = struct.unpack_from("<H", metadata, layout + 4 + 2 * number)[0] if 4 + 2 * number < size else 0
    except struct.error:
        raise ValueError("an unreadable message") from None
    return table + offset if offset else 0


def _follow(metadata: bytes, place: int) -> int:
    """Target of a flatbuffer offset."""
    try:
        return int(place + struct.unpack_from("<I", metadata, place)[0])
    except struct.error:
        raise ValueError("an unreadable message") from None
