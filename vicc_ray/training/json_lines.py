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
    """All lines; a half-written one (its writer was killed) is left out."""
    lines: list[dict[str, Any]] = []
    for text in file.read_text().splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
