"""A terminal on stderr with rich's displays, in which names are names: no markup, no emoji codes, no escapes."""

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
    """On stderr; what it shows is visible, whoever composed it, and its own movements of the cursor pass."""

    def __init__(self, show: bool = True) -> None:
        super().__init__(stderr=True, quiet=not show, highlight=False, soft_wrap=True)

    def tell(self, line: str, mark: str = "", style: str = "yellow") -> None:
        """A line of names and words; ``mark`` stands before it in a color."""
        self.print(Text.assemble((mark, style), line_of(line)))

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See :meth:`rich.console.Console.render`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible_lines(text), style, control)

    @property
    def file(self) -> IO[str]:
        """Where it writes to, past the filter of this process's stream."""
        stream = super().file
        return cast(IO[str], _AsIs(stream)) if isinstance(stream, VisibleStream) else stream

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream


def line_of(text: str) -> Text:
    """A name or a line as it is shown, in the place of a string, which rich would read as markup."""
    return Text(visible(text))


@contextmanager
def lines_above(console: Console) -> Iterator[None]:
    """What anybody prints in the block comes above the display of ``console``, if that shows one in a terminal."""
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
    """In the place of rich's own, which shows colors, links and markup of what is printed."""

    def __init__(self, console: Console, stream: TextIO) -> None:
        super().__init__(console, stream)
        self._console, self._rest = console, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text(visible_lines(line)))
        return len(text)

    def flush(self) -> None:
        """A line is shown once it has ended."""

    def end(self) -> None:
        if self._rest:
            self.write("\n")


class _AsIs:
    """A stream as the display sees it."""

    def __init__(self, stream: VisibleStream) -> None:
        self._stream = stream
        self.write = stream.write_as_is

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
