"""Files of JSON lines that grow while a run goes on, and that a killed process may leave with half a line."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vicc_ray.errors import UserError
from vicc_ray.utils.json_file import as_kind, parse_json
from vicc_ray.utils.regular_file import open_regular


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Append a line, in one write, after ending a half-written one; floats keep the nine digits that tell all float32
    apart.
    """
    rounded = {k: float(f"{v:.9g}") if isinstance(v, float) else v for k, v in line.items()}
    with _appending(file) as out:
        size = out.seek(0, 2)
        out.seek(max(0, size - 1))
        begin = "" if out.read(1) in (b"", b"\n") else "\n"
        out.write(f"{begin}{json.dumps(rounded)}\n".encode())


def _appending(file: Path) -> BinaryIO:
    """Not through a link, which may lead to any file of the user's where a run's folder is somebody else's."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UserError(f"{file} is a link; remove it: nothing is written through one") from None
    return os.fdopen(handle, "ab+")


_NUMBER = (int, float)
_FIGURE = (int, float, type(None))
"""null: a float that JSON does not have."""
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
"""By the name of a file, the types of what its lines may have: a run may be somebody else's."""
LONGEST_LINE = 2**20
"""Bytes of one; a few hundred are written."""
LARGEST = 2**53
"""Of a whole number."""


def read_lines(file: Path, *names: str) -> list[dict[str, Any]]:
    """All records, none where the file is missing; a half-written line (its writer was killed) is left out.

    Args:
        names: what each must have.

    Raises:
        UserError: it cannot be read, or a line lacks one of ``names`` or has a value that is not of :data:`TYPES`.
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
    """As :func:`read_lines`; each has the names that ``kind``, a dataclass, declares, with values of their types.

    Raises:
        UserError: it cannot be read, or a line lacks a name or has a value of another type.
    """
    lines = []
    for number, record in _records(file):
        try:
            as_kind(record, kind)
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
    """The record in a line; None where it is only a part of one."""
    try:
        record = parse_json(line if isinstance(line, str) else line.decode(errors="replace"))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
