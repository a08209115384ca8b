"""JSON Lines files that grow during a run; a killed process may leave an incomplete last line."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vicc_ray.errors import UserError
from vicc_ray.utils.json_file import parse_json, validate_as
from vicc_ray.utils.regular_file import open_regular


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Append a line in one write; an incomplete last line is ended first.

    Floats keep nine significant digits, which is enough to tell all float32 values apart.
    """
    rounded = {k: float(f"{v:.9g}") if isinstance(v, float) else v for k, v in line.items()}
    with _appending(file) as out:
        size = out.seek(0, 2)
        out.seek(max(0, size - 1))
        prefix = "" if out.read(1) in (b"", b"\n") else "\n"
        out.write(f"{prefix}{json.dumps(rounded)}\n".encode())


def _appending(file: Path) -> BinaryIO:
    """Open for appending. Links are refused: in a folder of somebody else they may point at any file of the user."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UserError(f"{file} is a symbolic link, which is not followed; remove it") from None
    return os.fdopen(handle, "ab+")


_NUMBER = (int, float)
_FIGURE = (int, float, type(None))
"""null stands for NaN and infinity, which JSON lacks."""
_PLACE = {"step": (int,), "epoch": _NUMBER, "phase": (str,)}
TYPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "metrics.jsonl": {**_PLACE, "stage": (int,), "stream": (str,), "data_ms": _NUMBER, "compute_ms": _NUMBER},
    "epochs.jsonl": _PLACE,
    "warnings.jsonl": {**_PLACE, "kind": (str,), "text": (str,)},
    "validation.jsonl": {
        **{**_PLACE, "stream": (str,)},
        **{"recall_at_1": _FIGURE, "low": _FIGURE, "high": _FIGURE, "videos": (int,)},
    },
    "samples.jsonl": {"step": (int,)},
    "checkpoints.jsonl": {"step": (int,)},
    "stage_times.jsonl": {"stage": (str,), "seconds": _NUMBER},
}
"""Allowed types of known keys, by file name. A run may come from somebody else, so they are checked."""
LONGEST_LINE = 2**20
"""Largest line in bytes; written lines have a few hundred."""
LARGEST = 2**53
"""Largest absolute value of an integer."""


def read_lines(file: Path, *names: str) -> list[dict[str, Any]]:
    """All records of a file, none if it is missing; incomplete lines are skipped.

    Args:
        names: keys that each record must have.

    Raises:
        UserError: the file cannot be read, or a record lacks one of ``names`` or violates :data:`TYPES`.
    """
    types = TYPES.get(file.name, {})
    records = []
    for number, record in _records(file):
        for name in {*types, *names}:
            if name in record or name in names:
                _check(record.get(name, ...), types.get(name, ()), f"{file}, line {number}: {name}")
        records.append(record)
    return records


def _check(value: Any, types: tuple[type, ...], what: str) -> None:
    if value is ... or (types and type(value) not in types) or (type(value) is int and abs(value) > LARGEST):
        given = "missing" if value is ... else f"{value!r:.40}"
        raise UserError(f"{what} is {given}; remove the line, or the file")


def read_typed_lines(file: Path, kind: type[Any]) -> list[dict[str, Any]]:
    """All records of a file, each validated against the dataclass ``kind``.

    Raises:
        UserError: the file cannot be read, or a record lacks a declared name or has another type.
    """
    lines = []
    for number, record in _records(file):
        try:
            validate_as(record, kind)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: {error}; remove the line") from None
        lines.append(record)
    return lines


def _records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open_regular(file) as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise UserError(f"{file}, line {number} has more than {LONGEST_LINE:,} bytes; remove the line")
                record = parse_line(line)
                if record is not None:
                    yield number, record
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or 'not a regular file'})") from None


def parse_line(line: bytes | str) -> dict[str, Any] | None:
    """Record of a line; None if the line is incomplete."""
    try:
        record = parse_json(line if isinstance(line, str) else line.decode(errors="replace"))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
