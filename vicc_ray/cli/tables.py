"""Tables on stdout: columns aligned by rich, styled on a terminal and plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from vicc_ray.utils.console import Console, line_of

MAX_WIDTH = 100_000
"""Columns are never wrapped or truncated: programs read these lines too."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    header: str = ""
    justify: Literal["left", "right"] = "right"
    width: int | None = None
    """Fixed width; None: that of the widest cell."""


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], gap: int = 2) -> None:
    """Print rows below their headers, or rows alone if no column has a header.

    Args:
        rows: cells in the order of ``columns``; strings are shown literally, without markup.
        gap: spaces between columns.
    """
    headers = any(column.header for column in columns)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=headers, header_style="bold")
    for column in columns:
        table.add_column(line_of(column.header), justify=column.justify, width=column.width, no_wrap=True)
    for row in rows:
        table.add_row(*(line_of(cell) if isinstance(cell, str) else cell for cell in row))
    console = Console(stderr=False)
    for segments in console.render_lines(table, console.options.update(width=MAX_WIDTH), pad=False):
        line = Text.assemble(*((text, style or "") for text, style, _ in segments))
        line.rstrip()
        console.print(line)
