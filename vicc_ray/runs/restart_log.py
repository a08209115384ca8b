"""Restart log: every start of a run's workers and the error that ended it.

Restarts that make progress are not limited; repeated restarts at one step are.
"""

from __future__ import annotations

import time
from itertools import takewhile
from pathlib import Path

from vicc_ray.utils.jsonl import append_line, read_lines


class RestartLog:
    """``restarts.jsonl`` of a run: a line for each start of its workers, each known error, and each wait."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def workers(self) -> list[int]:
        """Number of workers at each start, in order."""
        return [n for line in read_lines(self.file) if "step" in line and isinstance(n := line.get("workers"), int)]

    def record_start(self, step: int, workers: int, command: str = "") -> int:
        """Record a start and return the number of consecutive earlier starts with the same step and workers.

        Another number of workers counts as progress: nodes join and leave an elastic run.

        Args:
            command: identifies the invocation of the command line; each invocation counts from zero.
        """
        line = {"step": step, "workers": workers, "command": command}
        earlier = [{name: old.get(name) for name in line} for old in read_lines(self.file) if "step" in old]
        append_line(self.file, {"time_ms": int(1000 * time.time()), **line})
        return len(list(takewhile(lambda start: start == line, reversed(earlier))))

    def record_error(self, error: str) -> None:
        """Record the error that ended the workers."""
        append_line(self.file, {"time_ms": int(1000 * time.time()), "error": error})

    def record_wait(self, resource: str) -> None:
        """Record what the workers wait for before they can start."""
        append_line(self.file, {"time_ms": int(1000 * time.time()), "waits_for": resource})

    @property
    def error(self) -> str:
        """Last recorded error, "" without one."""
        return next((str(line["error"]) for line in reversed(read_lines(self.file)) if "error" in line), "")
