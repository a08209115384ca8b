"""Watchdog that kills the process when a step takes too long, even inside C code that holds the GIL."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Watchdog:
    """Time limit for blocks of this process, one at a time.

    Args:
        trace: file for the stack traces of a process that is killed. It tells the next process, and is removed by
            :meth:`close`.
    """

    def __init__(self, trace: Path) -> None:
        self._path = trace
        self.killed_previous = trace.exists() and trace.stat().st_size > 0
        """Whether the previous process with this file was killed by its watchdog."""
        self._file = trace.open("wb")

    @contextmanager
    def guard(self, limit_s: float) -> Iterator[None]:
        """Kill the process (exit status 1, no cleanup) if the block takes longer than ``limit_s`` seconds."""
        faulthandler.dump_traceback_later(limit_s, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Remove the trace file."""
        self._file.close()
        self._path.unlink(missing_ok=True)
