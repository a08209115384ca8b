"""Every beginning of a run and what ended it; a run may be disturbed for ever, but not stand still."""

from __future__ import annotations

import time
from itertools import takewhile
from pathlib import Path

from vicc_ray.utils.jsonl import append_line, read_lines


class RestartLog:
    """``restarts.jsonl`` of a run: a line for each beginning of its workers, for each error that could be told, and for
    what is waited for before a beginning."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def workers(self) -> list[int]:
        """How many there were at each beginning, one after the other."""
        return [n for line in read_lines(self.file) if "step" in line and isinstance(n := line.get("workers"), int)]

    def record_start(self, step: int, workers: int, command: str = "") -> int:
        """Note a beginning at ``step`` and return how many in a row before it began with the same step and workers.

        Another number of workers counts as something new: machines come and go while a run advances.

        Args:
            command: names the call of the command that this belongs to: with each, what is counted starts anew.
        """
        line = {"step": step, "workers": workers, "command": command}
        before = [{name: old.get(name) for name in line} for old in read_lines(self.file) if "step" in old]
        append_line(self.file, {"time_ms": int(1000 * time.time()), **line})
        return len(list(takewhile(lambda begun: begun == line, reversed(before))))

    def record_error(self, error: str) -> None:
        """Keep what ended this attempt, as far as it could be told."""
        append_line(self.file, {"time_ms": int(1000 * time.time()), "error": error})

    def record_wait(self, what: str) -> None:
        """The workers cannot begin until this is there."""
        append_line(self.file, {"time_ms": int(1000 * time.time()), "waits_for": what})

    @property
    def error(self) -> str:
        """The last one noted, "" if there is none."""
        return next((str(line["error"]) for line in reversed(read_lines(self.file)) if "error" in line), "")
