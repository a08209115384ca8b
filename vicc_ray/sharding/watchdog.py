"""Ends this process when one step takes too long, also inside C code that holds the interpreter's lock."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Watchdog:
    """Guards blocks of this process, one at a time; what it did to an earlier process is kept in a file.

    Args:
        trace: file that gets the stacks of the process when a block takes too long. It stays after the end of the
            process, and is removed by :meth:`close`.
    """

    def __init__(self, trace: Path) -> None:
        self._path = trace
        self.killed_previous = trace.exists() and trace.stat().st_size > 0
        """Whether the process before this one, with the same file, was ended by its watchdog."""
        self._file = trace.open("wb")

    @contextmanager
    def guard(self, limit_s: float) -> Iterator[None]:
        """End the process, with status 1 and nothing tidied up, if the block takes longer than ``limit_s`` seconds."""
        faulthandler.dump_traceback_later(limit_s, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)
