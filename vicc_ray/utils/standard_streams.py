"""Robust standard streams: closed, full or ASCII-only ones do not stop the work, and names cannot control the terminal.

All output of this package, Python and libraries passes through :class:`VisibleStream`. Code that composes lines escapes
the names in them itself, because line ends pass here.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

from vicc_ray.utils.visible_text import indented, visible, visible_lines

STRICT = ("strict", "surrogateescape")
"""Python's default error handlers: a character that the stream cannot encode is an error."""


class LenientFile(io.FileIO):
    """File that drops what cannot be written; only a broken pipe is an error, once.

    A full disk under a log must not end a training.
    """

    lost: OSError | None = None
    """Last error of a write."""

    def __init__(self, descriptor: int, tells_of_reader: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._tells_of_reader = tells_of_reader

    def write(self, data: Any) -> int:
        """Write ``data``; dropped bytes count as written."""
        try:
            return super().write(data)
        except OSError as error:
            first, self.lost = self.lost is None, error
            if first and self._tells_of_reader and error.errno == errno.EPIPE:
                raise
            return memoryview(data).nbytes


class VisibleStream(io.TextIOWrapper):
    """Text stream that escapes control characters, except line ends and tabs."""

    def write(self, text: str) -> int:
        """Write ``text`` with control characters escaped."""
        super().write(visible_lines(text))
        return len(text)

    def write_as_is(self, text: str) -> int:
        """Write ``text`` unchanged, for displays that move the cursor and escape their content."""
        return super().write(text)


def print_line(line: str, to: TextIO | None = None, flush: bool = False) -> None:
    """Print one line to stdout or another stream; line ends inside it are escaped."""
    print(visible(line), file=to or sys.stdout, flush=flush)


class Output:
    """Replacement of ``sys.stdout`` and ``sys.stderr`` by robust streams; closed ones write to /dev/null."""

    def __init__(self) -> None:
        for descriptor in range(3):
            _open_if_closed(descriptor)
        self._out = LenientFile(1, tells_of_reader=True)
        sys.stdout = _text(self._out, sys.stdout)
        sys.stderr = _text(LenientFile(2, tells_of_reader=False), sys.stderr)
        sys.excepthook = _show_error
        warnings.formatwarning = _indented_after(warnings.formatwarning)

    def finish(self) -> OSError | None:
        """Flush stdout; returns the error if any output was lost."""
        with suppress(OSError):
            sys.stdout.flush()
        return self._out.lost


def _open_if_closed(descriptor: int) -> None:
    """Occupy a closed descriptor: otherwise the next opened file gets its number, and the output."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # uses the lowest free number


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an unexpected error with its traceback, indented so that no line looks like a message of vicc-ray."""
    sys.stderr.write(indented("".join(traceback.format_exception(kind, error, trace)).rstrip("\n")) + "\n")


def _indented_after(form: Callable[..., str]) -> Callable[..., str]:
    """Format of warnings, indented so that no line looks like a message of vicc-ray."""
    return lambda *about: indented(form(*about).rstrip("\n")) + "\n"


def _text(raw: LenientFile, before: TextIO | None) -> VisibleStream:
    """Text stream with the settings of ``before`` on which no character is an error."""
    errors = (before and before.errors) or STRICT[0]
    unbuffered = isinstance(before, io.TextIOWrapper) and before.write_through  # PYTHONUNBUFFERED
    return VisibleStream(
        cast(io.BufferedWriter, raw) if unbuffered else io.BufferedWriter(raw),  # as in Python itself
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace" if errors in STRICT else errors,
        line_buffering=raw.fileno() == 2 or raw.isatty(),
        write_through=unbuffered,
    )
