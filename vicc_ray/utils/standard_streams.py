"""Standard streams that do not end the work, be they closed, full or of few characters, and obey nothing in a name.

Whatever is written, by this package, Python or a library, comes through :class:`VisibleStream`. What composes lines
makes the names in them visible itself, since a line end is one of the characters that pass here.
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


class VisibleStream(io.TextIOWrapper):
    """A text stream whose terminal sees no character that would do something, but ends of lines and tabs."""

    def write(self, text: str) -> int:
        """Like that of any stream."""
        super().write(visible_lines(text))
        return len(text)

    def write_as_is(self, text: str) -> int:
        """For a display that moves the cursor itself, and has made visible what it shows."""
        return super().write(text)


def say(line: str, to: TextIO | None = None, flush: bool = False) -> None:
    """Print one line, on stdout or on another stream; line ends in it are those of names, and made visible."""
    print(visible(line), file=to or sys.stdout, flush=flush)


class Output:
    """``sys.stdout`` and ``sys.stderr`` of this process, lenient and visible; closed ones lead nowhere."""

    def __init__(self) -> None:
        for descriptor in range(3):
            _open_if_closed(descriptor)
        self._out = LenientFile(1, tells_of_reader=True)
        sys.stdout = _text(self._out, sys.stdout)
        sys.stderr = _text(LenientFile(2, tells_of_reader=False), sys.stderr)
        sys.excepthook = _show_error
        warnings.formatwarning = _indented_after(warnings.formatwarning)

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


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error that nobody expected, with its traceback; no line of its message looks like one of ours."""
    sys.stderr.write(indented("".join(traceback.format_exception(kind, error, trace)).rstrip("\n")) + "\n")


def _indented_after(form: Callable[..., str]) -> Callable[..., str]:
    """The same form of a warning, no line of which looks like one of ours."""
    return lambda *about: indented(form(*about).rstrip("\n")) + "\n"


def _text(raw: LenientFile, before: TextIO | None) -> VisibleStream:
    """A text stream like the one ``before``, of which no character is an error."""
    errors = (before and before.errors) or STRICT[0]
    unbuffered = isinstance(before, io.TextIOWrapper) and before.write_through  # PYTHONUNBUFFERED
    return VisibleStream(
        cast(io.BufferedWriter, raw) if unbuffered else io.BufferedWriter(raw),  # as Python itself does it
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace" if errors in STRICT else errors,
        line_buffering=raw.fileno() == 2 or raw.isatty(),
        write_through=unbuffered,
    )
