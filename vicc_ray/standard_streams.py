"""Standard streams that do not end the work: closed ones, full ones, and ones that cannot take every character."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

STRICT = ("strict", "surrogateescape")
"""What Python does by default with characters that a stream cannot take: an error."""


class LenientFile(io.FileIO):
    """A descriptor of which nothing but the end of a pipe's reader is an error, and that once.

    What cannot be written is lost: a full disk under a log is no reason to end a training.
    """

    lost: OSError | None = None
    """Why something could not be written."""

    def __init__(self, descriptor: int, tells_of_reader: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._tells_of_reader = tells_of_reader

    def write(self, data: Any) -> int:
        """Like that of any file; what is lost counts as written."""
        try:
            return super().write(data)
        except OSError as error:
            first, self.lost = self.lost is None, error
            if first and self._tells_of_reader and error.errno == errno.EPIPE:
                raise
            return memoryview(data).nbytes


class Output:
    """``sys.stdout`` and ``sys.stderr`` of this process, made lenient; closed ones lead nowhere."""

    def __init__(self) -> None:
        for descriptor in range(3):
            _open_if_closed(descriptor)
        self._out = LenientFile(1, tells_of_reader=True)
        sys.stdout = _text(self._out, sys.stdout)
        sys.stderr = _text(LenientFile(2, tells_of_reader=False), sys.stderr)

    def finish(self) -> OSError | None:
        """Write what is left; why something that was printed is lost, if it is."""
        with suppress(OSError):
            sys.stdout.flush()
        return self._out.lost


def _open_if_closed(descriptor: int) -> None:
    """Else the next file that is opened takes its number, and gets what is printed."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


def _text(raw: LenientFile, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream like the one ``before``, of which no character is an error."""
    errors = (before and before.errors) or STRICT[0]
    unbuffered = isinstance(before, io.TextIOWrapper) and before.write_through  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        cast(io.BufferedWriter, raw) if unbuffered else io.BufferedWriter(raw),  # as Python itself does it
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace" if errors in STRICT else errors,
        line_buffering=raw.fileno() == 2 or raw.isatty(),
        write_through=unbuffered,
    )
