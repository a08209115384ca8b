"""Arrow and Parquet files that somebody else may have written: looked through before anything in them is believed.

Arrow's readers trust offsets and lengths of a file; a wrong one ends the process or shows foreign memory.
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
"""Bytes of a file of another account, which is copied into memory."""
_SPARSE, _DENSITY = 2**24, 8
"""A file of more bytes than the first that takes less than one in so many on its disk; one that its disk compresses
takes more.
"""
WIDEST = 8
"""Bytes of a value, for how much memory a number of them takes."""


@contextmanager
def naming_damage(path: Path, remedy: str) -> Iterator[None]:
    """Whatever Arrow says of a damaged file, as a UserError with its path and what to do; FileNotFoundError stays."""
    try:
        yield
    except (FileNotFoundError, UserError):
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise (unreadable(path) or UserError(f"{path} is damaged ({reason}); {remedy}")) from None


def read_arrow(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """All rows of an Arrow file, mapped into memory, every offset in them checked; its metadata is the table's.

    A file of another account is copied instead: who may change it could shorten it while it is mapped.

    Args:
        schema: what it must have, metadata aside.
        remedy: what to do where it is damaged.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, compressed, or of another schema.
    """
    with naming_damage(path, remedy):
        content = _content(path)
        if content.size < 32 or bytes(content[:6]) != MAGIC or bytes(content[content.size - 6 :]) != MAGIC:
            raise ValueError("no Arrow file, or the begin of one")
        stream = pa.BufferReader(content.slice(8))
        messages = pa.ipc.MessageReader.open_stream(stream)
        stored = pa.ipc.read_schema(messages.read_next_message())
        _check_schema(stored, schema)
        table = pa.Table.from_batches([_batch(message, stored) for message in messages], stored)
        (footer,) = struct.unpack("<i", content[content.size - 10 : content.size - 6])
        if 8 + stream.tell() + footer + 10 != content.size:
            raise ValueError("cut off, or more in it than its batches")
        table.validate(full=True)
    return table


def open_parquet(path: Path, schema: pa.Schema, remedy: str, largest: int) -> pq.ParquetFile:
    """A Parquet file whose description holds together; checksums of its pages are looked at as they are read.

    Args:
        schema: columns that it must have, by name and type; others may be there.
        largest: bytes of memory that one row group may take.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, of another schema, or would take more memory.
    """
    with naming_damage(path, remedy):
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
    """The columns of ``schema`` of a whole Parquet file, every offset in them checked; its metadata is the table's.

    Args:
        largest: bytes of memory that they may take.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, lacks a column, or would take more memory.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with open_parquet(path, schema, remedy, largest) as looked_at, naming_damage(path, remedy):
        _check_rows(looked_at.metadata, schema, largest)
        # One long text may be that of a million rows: it is not repeated before the sum is known.
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts) as file:
            table = file.read(columns=schema.names)
        if (memory := sum(text_bytes(table.column(name)) for name in texts)) > largest:
            raise ValueError(f"its texts would take {memory:,} bytes of memory; {largest:,} are allowed")
        table = table.select(schema.names).cast(schema.with_metadata(table.schema.metadata))
        table.validate(full=True)
    return table


def _check_rows(about: pq.FileMetaData, schema: pa.Schema, largest: int) -> None:
    if about.num_rows * WIDEST * len(schema) > largest:
        raise ValueError(f"{about.num_rows:,} rows would take more than the {largest:,} bytes of memory allowed")


def text_bytes(column: pa.ChunkedArray) -> int:
    """Bytes that a column of texts takes once it is read, of dictionaries as Parquet's ``read_dictionary`` gives."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    for chunk in chunks:
        chunk.validate(full=True)
    return sum(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0 for chunk in chunks)


def _check_schema(stored: pa.Schema, wanted: pa.Schema, also: bool = False) -> None:
    """See that the columns are those expected; ``also``: there may be others."""
    for field in wanted:
        if len(stored.get_all_field_indices(field.name)) != 1:
            raise ValueError(f"no column {field.name}, or several")
        if stored.field(field.name).type != field.type:
            raise ValueError(f"column {field.name} is {str(stored.field(field.name).type)[:80]}, not {field.type}")
    if not also and stored.names != wanted.names:
        raise ValueError(f"columns other than {', '.join(wanted.names)}")


def _check_groups(about: pq.FileMetaData, largest: int) -> None:
    """What row groups are said to take; of their columns nothing can be asked, since a damaged one ends the process."""
    rows = 0
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        if group.num_rows < 0 or not 0 <= group.total_byte_size <= largest:
            raise ValueError(f"row group {number} of {group.total_byte_size:,} bytes; {largest:,} are allowed")
        rows += group.num_rows
    if rows != about.num_rows:
        raise ValueError(f"{about.num_rows} rows said, {rows} in its row groups")


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
        raise ValueError(f"{status.st_size:,} bytes of another account; {LARGEST_COPY:,} are allowed")
    if status.st_size > max(_SPARSE, status.st_blocks * 512 * _DENSITY):
        raise ValueError(f"sparse: {status.st_size:,} bytes, of which {status.st_blocks * 512:,} are on its disk")


def _batch(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """Compressed batches are refused: a small file could fill the memory."""
    about = message.metadata.to_pybytes()
    header = _follow(about, _field(about, _follow(about, 0), _HEADER))
    if message.type != "record batch" or _field(about, header, _COMPRESSION):
        raise ValueError("compressed, or no rows where rows were expected")
    return pa.ipc.read_record_batch(message, schema)


def _field(about: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table lies; 0 where it is not there."""
    try:
        layout = table - struct.unpack_from("<i", about, table)[0]
        (size,) = struct.unpack_from("<H", about, layout)
        offset = struct.unpack_from("<H", about, layout + 4 + 2 * number)[0] if 4 + 2 * number < size else 0
    except struct.error:
        raise ValueError("a message that cannot be read") from None
    return table + offset if offset else 0


def _follow(about: bytes, place: int) -> int:
    """Where an offset of a flatbuffer leads."""
    try:
        return int(place + struct.unpack_from("<I", about, place)[0])
    except struct.error:
        raise ValueError("a message that cannot be read") from None
