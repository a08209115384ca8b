"""Files of JSON lines that grow while a run goes on, and that a killed process may leave with half a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vicc_ray.errors import UserError
from vicc_ray.json_file import as_kind, parse_json
from vicc_ray.regular_file import open_regular


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Append a line, in one write, after ending a half-written one; floats keep the nine digits that tell all float32
    apart.
    """
    rounded = {k: float(f"{v:.9g}") if isinstance(v, float) else v for k, v in line.items()}
    with file.open("ab+") as out:
        size = out.seek(0, 2)
        out.seek(max(0, size - 1))
        begin = "" if out.read(1) in (b"", b"\n") else "\n"
        out.write(f"{begin}{json.dumps(rounded)}\n".encode())


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All records, none where the file is missing; a half-written line (its writer was killed) is left out.

    Raises:
        UserError: it cannot be read.
    """
    return [record for _, record in _records(file)]


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
            for number, line in enumerate(lines, 1):
                record = _record(line)
                if isinstance(record, dict):
                    yield number, record
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or 'not a regular file'})") from None


def _record(line: bytes) -> Any:
    try:
        return parse_json(line.decode(errors="replace"))
    except ValueError:
        return None
