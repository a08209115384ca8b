"""Manifests: one row per video, as CSV, JSON lines or Parquet with the columns path, label, source, split."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.datasets.annotations import AnnotationSource
from vicc_ray.datasets.base import AnnotationFormat, VideoItem, top_folder
from vicc_ray.datasets.columns import match_columns
from vicc_ray.datasets.csv_table import read_csv, row_by_name
from vicc_ray.datasets.file_listing import FileListing, nfc
from vicc_ray.datasets.locations import Location
from vicc_ray.errors import UserError
from vicc_ray.utils.arrow_file import text_bytes

DEFAULT_NAMES = ("labels.csv", "labels.jsonl", "labels.parquet")
"""Manifests of these names in the videos folder are used by default."""
COLUMNS = ("path", "label", "source", "split")
MAX_ROWS_PER_BYTE, MAX_TEXT_BYTES = 4, 2**30
"""Limits of a Parquet manifest: rows relative to its size, and bytes of all texts."""
JSON_LINES = (".jsonl", ".ndjson")
MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet", *JSON_LINES)
SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test", "": ""}
"""Allowed values of the column split in lower case -> split."""
UNSUPPORTED_SPLITS = ("val", "valid", "validate", "validation", "dev", "eval", "holdout")
Row = tuple[str, dict[str, Any]]
"""Position of a row for messages ("line 3"), and its cells by column."""


def manifest_items(labels: AnnotationSource, listing: FileListing, fold: int = 1) -> list[VideoItem]:
    """Videos of a manifest, whether the files exist or not; other files of the folder do not count.

    The column ``path`` (relative to the videos folder) is required. Optional are ``label`` (default: the top folder of
    the path), ``source`` and ``split``. Values of other types are converted to text, null to "".

    Raises:
        UserError: the manifest cannot be read, or a column or row is invalid.
    """
    if labels.suffix in JSON_LINES:
        names, rows = _json_lines(labels)
    elif labels.suffix == ".parquet":
        names, rows = _parquet(labels)
    else:
        names, rows = _csv(labels)
    columns = match_columns(names, COLUMNS, str(labels.location))
    if "path" in columns.missing:
        raise UserError(
            f"{labels.location}: no column named path; a manifest has the columns path, and any of label, source, "
            f"split (in CSV the first line names them; found: {', '.join(names) or 'none'})"
        )
    labels.notes.append(f"{labels.location}: {columns}")
    items = []
    for where, row in rows:
        text = {name: _text(row.get(column)) for name, column in columns.used.items()}
        items.append(_item(listing, text, f"{labels.location} {where}"))
    _check_once(labels, items)
    return items


def _check_once(labels: AnnotationSource, items: list[VideoItem]) -> None:
    """Check that each id and each file has one row."""
    ids = Counter(item.id for item in items)
    twice = [id for id, n in ids.items() if n > 1]
    if twice:
        raise UserError(f"{labels.location} lists {twice[0]} more than once; each video has one row")
    first: dict[Location, VideoItem] = {}
    for item in items:
        other = first.setdefault(item.location, item)
        if other is not item:
            raise UserError(
                f"{labels.location} lists the file {item.location} twice, as {other.id!r} and {item.id!r}; each video "
                "has one row"
            )


def _item(listing: FileListing, row: dict[str, str], where: str) -> VideoItem:
    path = PurePosixPath(row["path"])
    if path.is_absolute() and isinstance(listing.folder, Path) and path.is_relative_to(listing.folder):
        path = path.relative_to(listing.folder)
    address = "://" in row["path"] or "\0" in row["path"]
    if path.is_absolute() or ".." in path.parts or not path.parts or address:
        raise UserError(
            f"{where}: path {row['path']!r} given; it must be relative to the videos folder {listing.folder}"
        )
    id = str(path)
    if "\\" in id and not listing.has(id) and listing.has(id.replace("\\", "/")):  # written on Windows
        id = id.replace("\\", "/")
    label = nfc(row["label"]) if "label" in row else top_folder(id)
    source = nfc(row.get("source", "")) or id
    return VideoItem(listing.locate(id), id, label, source, split_of(row.get("split", ""), where))


def split_of(word: str, where: str) -> str:
    """Split named by a cell; one of :data:`vicc_ray.datasets.base.SPLITS`.

    Raises:
        UserError: the word is not allowed.
    """
    split = SPLIT_NAMES.get(word.strip().casefold())
    if split is None:
        advice = "; use test for videos that are held out" if word.strip().casefold() in UNSUPPORTED_SPLITS else ""
        raise UserError(
            f"{where}: split {word!r} given; allowed: train, test, or empty (the video is in neither){advice}"
        )
    return split


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _csv(labels: AnnotationSource) -> tuple[list[str], list[Row]]:
    names, lines = read_csv(labels.text(), str(labels.location), "path")
    match_columns(names, COLUMNS, str(labels.location))  # before rows become dicts, which drop repeated columns
    rows = []
    for number, cells in lines:
        where = f"line {number}"
        rows.append((where, row_by_name(names, cells, f"{labels.location} {where}")))
    return names, rows


def _json_lines(labels: AnnotationSource) -> tuple[list[str], list[Row]]:
    rows = []
    for number, line in enumerate(labels.text().split("\n"), 1):
        if line.strip():
            rows.append((f"line {number}", _object(line, f"{labels.location} line {number}")))
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=lambda pairs: _pairs(pairs, where))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise UserError(f'{where}: {line.strip()[:60]!r} given; each line is an object such as {{"path": "a/1.mp4"}}')
    return row


def _pairs(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    twice = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    if twice:
        raise UserError(f"{where}: the key {twice[0]!r} is repeated; keep one of them")
    return dict(pairs)


def _parquet(labels: AnnotationSource) -> tuple[list[str], list[Row]]:
    try:
        names, columns = _columns(labels, content := labels.read(""))
        rows = _table(content, columns).to_pylist()
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{labels.location} is not a valid Parquet file ({error})") from None
    return names, [(f"row {number}", row) for number, row in enumerate(rows, 1)]


def _columns(labels: AnnotationSource, content: bytes) -> tuple[list[str], list[str]]:
    """Names of all columns, and of those to read."""
    names = pq.read_schema(pa.BufferReader(content)).names
    return names, list(match_columns(names, COLUMNS, str(labels.location)).used.values())


def _table(content: bytes, columns: list[str]) -> pa.Table:
    """Read columns of a manifest. Each row has another path, so many more rows than bytes mean a damaged file."""
    with pq.ParquetFile(pa.BufferReader(content), read_dictionary=columns) as file:
        if not 0 <= file.metadata.num_rows <= MAX_ROWS_PER_BYTE * len(content):
            raise ValueError(f"{file.metadata.num_rows:,} rows in {len(content):,} bytes")
        table = file.read(columns=columns)
    table.validate(full=True)
    texts = [column for column in table.itercolumns() if pa.types.is_dictionary(column.type)]
    if (memory := sum(map(text_bytes, texts))) > MAX_TEXT_BYTES:
        raise ValueError(f"its texts take {memory:,} bytes of memory; allowed: {MAX_TEXT_BYTES:,}")
    return table


def _fits(labels: AnnotationSource) -> bool:
    return labels.suffix in MANIFEST_SUFFIXES


MANIFEST = AnnotationFormat(
    "a manifest (.csv, .tsv, .jsonl, .ndjson or .parquet) with the column path and any of label, source, split",
    _fits,
    manifest_items,
)
