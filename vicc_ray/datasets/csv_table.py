"""CSV as people have it: commas, semicolons, tabs or bars, blanks around the cells, a line ``sep=;`` at the top."""

from __future__ import annotations

import csv
import io
import re
from itertools import zip_longest

from vicc_ray.datasets.columns import normalized_name
from vicc_ray.errors import UserError

DELIMITERS = ",;\t|"
_SAID = re.compile(r"\s*sep=(.)\r?\n")
"""What Excel writes, and reads."""


def read_csv(text: str, where: str, wanted: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names in the first line, and number and cells of every other line that is not empty.

    Args:
        wanted: a column that should be there; the delimiter is the first that makes it one.

    Raises:
        UserError: the text is no CSV.
    """
    said = _SAID.match(text)
    table = text[said.end() :] if said else text
    delimiter = said[1] if said else _delimiter(table, wanted)
    table = _without_blanks_around_quotes(table, delimiter)
    above = text[: said.end()].count("\n") if said else 0
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        names = next((cells for cells in reader if cells), [])
        while names and not names[-1].strip():
            names.pop()
        return names, [(reader.line_num + above, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{where} cannot be read: {error} (line {reader.line_num + above})") from None


def header_names(text: str, where: str, wanted: str) -> list[str]:
    """The names in the first line alone."""
    said = _SAID.match(text)
    lines = text[said.end() if said else 0 :].lstrip().split("\n", 1)[:1]
    return read_csv("".join(lines), where, wanted)[0]


def row_by_name(names: list[str], cells: list[str], where: str) -> dict[str, str]:
    """A line of a table; cells that are missing at its end are empty, and empty ones that no column has do not count.

    Raises:
        UserError: it has more cells than there are columns, or fewer because a quote is not closed.
    """
    while len(cells) > len(names) and not cells[-1].strip():
        cells = cells[:-1]
    counts = f"{where} has {len(cells)} cells, and the first line names {len(names)} columns"
    if len(cells) > len(names):
        raise UserError(f'{counts}; a cell with a comma in it stands in quotes: "a, b"')
    if len(cells) < len(names) and any("\n" in cell or "\r" in cell for cell in cells):
        raise UserError(f"{counts}, and one of the cells goes on over the end of a line: close its quote")
    return dict(zip_longest(names, cells, fillvalue=""))


def _without_blanks_around_quotes(table: str, delimiter: str) -> str:
    """The table without the blanks between quotes and delimiters, which csv would refuse; cells stay what they are."""
    blank = "[ ]" if delimiter == "\t" else "[ \\t]"
    end = rf"(?=[{re.escape(delimiter)}\r\n]|\Z)"
    cell = rf'{blank}*("(?:[^"]++|"")*+"){blank}*{end}|[^{re.escape(delimiter)}\r\n]+'
    return re.sub(cell, lambda found: found[1] or found[0], table)


def _delimiter(text: str, wanted: str) -> str:
    first = text.lstrip().splitlines()[:1]
    for delimiter in DELIMITERS:
        if any(wanted == normalized_name(name.strip().strip('"')) for line in first for name in line.split(delimiter)):
            return delimiter
    return max(DELIMITERS, key="".join(first).count)
