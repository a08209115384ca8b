"""Rich console that shows text literally: no markup, no emoji codes, no escape sequences."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO, cast

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.file_proxy import FileProxy
from rich.segment import Segment
from rich.text import Text

from vicc_ray.utils.standard_streams import VisibleStream
from vicc_ray.utils.visible_text import visible, visible_lines


class Console(rich.console.Console):
    """Console on stderr or stdout. Text is made visible; only rich's own control codes reach the terminal."""

    def __init__(self, show: bool = True, stderr: bool = True) -> None:
        super().__init__(stderr=stderr, quiet=not show, highlight=False, soft_wrap=True)

    def print_line(self, line: str, mark: str = "", style: str = "yellow") -> None:
        """Print one line, with ``mark`` in color in front."""
        self.print(Text.assemble((mark, style), line_of(line)))

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See :meth:`rich.console.Console.render`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible_lines(text), style, control)

    @property
    def file(self) -> IO[str]:
        """Output stream, without the filter of :class:`VisibleStream`, which would escape control codes."""
        stream = super().file
        return cast(IO[str], _AsIs(stream)) if isinstance(stream, VisibleStream) else stream

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream


def line_of(text: str) -> Text:
    """One line as rich text; rich would interpret a plain string as markup."""
    return Text(visible(text))


@contextmanager
def print_above(console: Console) -> Iterator[None]:
    """Print the output of the block above the live display of ``console``; no effect without a terminal."""
    if console.quiet or not console.is_terminal:
        yield
        return
    before = sys.stdout, sys.stderr
    above = [_Above(console, stream) for stream in before]
    sys.stdout, sys.stderr = above
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in above:
            stream.end()


class _Above(FileProxy):
    """Replacement of rich's own proxy, which interprets colors, links and markup in printed text."""

    def __init__(self, console: Console, stream: TextIO) -> None:
        super().__init__(console, stream)
        self._console, self._rest = console, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text(visible_lines(line)))
        return len(text)

    def flush(self) -> None:
        """Nothing to do: only complete lines are shown."""

    def end(self) -> None:
        if self._rest:
            self.write("\n")


class _AsIs:
    """Stream that passes the display's control codes."""

    def __init__(self, stream: VisibleStream) -> None:
        self._stream = stream
        self.write = stream.write_as_is

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
