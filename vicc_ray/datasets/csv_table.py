"""Lenient CSV reader: commas, semicolons, tabs or bars, spaces around cells, Excel's first line ``sep=;``."""

from __future__ import annotations

import csv
import io
import re
from itertools import zip_longest

from vicc_ray.datasets.columns import normalized_name
from vicc_ray.errors import UserError

DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r"\s*sep=(.)\r?\n")
"""First line with the delimiter, as Excel writes it."""


def read_csv(text: str, where: str, wanted: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Column names, and line number and cells of every non-empty line.

    Args:
        where: name of the table, for messages.
        wanted: a column that should exist; the delimiter is the first that splits it off.

    Raises:
        UserError: the text is not CSV.
    """
    sep_line = _SEP_LINE.match(text)
    table = text[sep_line.end() :] if sep_line else text
    delimiter = sep_line[1] if sep_line else _delimiter(table, wanted)
    table = _without_spaces_around_quotes(table, delimiter)
    skipped = text[: sep_line.end()].count("\n") if sep_line else 0
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        names = next((cells for cells in reader if cells), [])
        while names and not names[-1].strip():
            names.pop()
        return names, [(reader.line_num + skipped, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{where} is not valid CSV: {error} (line {reader.line_num + skipped})") from None


def header_names(text: str, where: str, wanted: str) -> list[str]:
    """Column names, from the first line alone; see :func:`read_csv`."""
    sep_line = _SEP_LINE.match(text)
    lines = text[sep_line.end() if sep_line else 0 :].lstrip().split("\n", 1)[:1]
    return read_csv("".join(lines), where, wanted)[0]


def row_by_name(names: list[str], cells: list[str], where: str) -> dict[str, str]:
    """Cells of a line by column. Missing cells at its end are empty; surplus empty cells are dropped.

    Raises:
        UserError: the line has more cells than columns, or a quote is not closed.
    """
    while len(cells) > len(names) and not cells[-1].strip():
        cells = cells[:-1]
    counts = f"{where} has {len(cells)} cells, but the first line names {len(names)} columns"
    if len(cells) > len(names):
        raise UserError(f'{counts}; put a cell that contains a comma in quotes: "a, b"')
    if len(cells) < len(names) and any("\n" in cell or "\r" in cell for cell in cells):
        raise UserError(f"{counts}, and a cell continues on the next line: close its quote")
    return dict(zip_longest(names, cells, fillvalue=""))


def _without_spaces_around_quotes(table: str, delimiter: str) -> str:
    """Remove whitespace between quotes and delimiters, which the csv module refuses; cells keep their content."""
    blank = "[ ]" if delimiter == "\t" else "[ \\t]"
    end = rf"(?=[{re.escape(delimiter)}\r\n]|\Z)"
    cell = rf'{blank}*("(?:[^"]++|"")*+"){blank}*{end}|[^{re.escape(delimiter)}\r\n]+'
    return re.sub(cell, lambda match: match[1] or match[0], table)


def _delimiter(text: str, wanted: str) -> str:
    first = text.lstrip().splitlines()[:1]
    for delimiter in DELIMITERS:
        if any(wanted == normalized_name(name.strip().strip('"')) for line in first for name in line.split(delimiter)):
            return delimiter
    return max(DELIMITERS, key="".join(first).count)
