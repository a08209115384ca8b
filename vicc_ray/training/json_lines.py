"""Files of JSON lines that grow while a run goes on, and that a killed process may leave with half a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
    """All records, none where the file is missing; a half-written line (its writer was killed) is left out."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", errors="replace") as lines:
        records = [_record(line) for line in lines]
    return [record for record in records if isinstance(record, dict)]


def _record(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
