"""Manifests: a row a video, as CSV, JSON lines or Parquet with the columns path, label, source, split."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.errors import UserError
from vicc_ray.video.sources.item import SPLITS, Source, VideoItem, first_folder
from vicc_ray.video.sources.labels import Labels
from vicc_ray.video.sources.listing import Listing

DEFAULT_NAMES = ("labels.csv", "labels.jsonl", "labels.parquet")
"""Manifests of these names in the videos folder are used without being asked for."""
COLUMNS = ("path", "label", "source", "split")
JSON_LINES = (".jsonl", ".ndjson")
Row = tuple[str, dict[str, Any]]
"""Where a row stands, for messages, and its cells by column."""


def manifest_items(labels: Labels, listing: Listing, fold: int = 1) -> list[VideoItem]:
    """The rows of a manifest and nothing else, whether the named files exist or not.

    The column ``path`` (below the videos folder) must be there; ``label`` (default: the first folder of the path),
    ``source`` and ``split`` may be. Values that are no text are taken as text, null as "".

    Raises:
        UserError: it cannot be read, or a row of it cannot be used.
    """
    if labels.suffix in JSON_LINES:
        columns, rows = _json_lines(labels)
    elif labels.suffix == ".parquet":
        columns, rows = _parquet(labels)
    else:
        columns, rows = _csv(labels)
    if "path" not in columns:
        raise UserError(
            f"{labels.place}: no column named path; a manifest has the columns path, and any of label, source, split "
            f"(in CSV the first line names them; found: {', '.join(map(str, columns)) or 'none'})"
        )
    items = []
    for where, row in rows:
        text = {name: _text(row.get(name)) for name in COLUMNS if name in columns}
        items.append(_item(listing, text, f"{labels.place} {where}"))
    twice = [id for id, n in Counter(item.id for item in items).items() if n > 1]
    if twice:
        raise UserError(f"{labels.place} names {twice[0]} more than once; each video has one row")
    return items


def _item(listing: Listing, row: dict[str, str], where: str) -> VideoItem:
    path = PurePosixPath(row["path"])
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UserError(f"{where}: path {row['path']!r} must be a path below the videos folder {listing.folder}")
    split = row.get("split", "")
    if split not in SPLITS:
        raise UserError(f"{where}: split {split!r}; allowed are train, test, or nothing (the video is then in neither)")
    id = str(path)
    return VideoItem(listing.at(id), id, row.get("label", first_folder(id)), row.get("source") or id, split)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _csv(labels: Labels) -> tuple[Sequence[str], Iterator[Row]]:
    reader = csv.DictReader(io.StringIO(labels.text(), newline=""), restval="")
    try:
        rows = [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{labels.place} cannot be read: {error} (line {reader.line_num})") from None
    return reader.fieldnames or [], iter(rows)


def _json_lines(labels: Labels) -> tuple[Sequence[str], Iterator[Row]]:
    rows = []
    for number, line in enumerate(labels.text().split("\n"), 1):
        if line.strip():
            rows.append((f"line {number}", _object(line, f"{labels.place} line {number}")))
    return list(dict.fromkeys(name for _, row in rows for name in row)), iter(rows)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where} cannot be read: it is no JSON ({error})") from None
    if not isinstance(row, dict):
        raise UserError(f'{where}: {line.strip()[:60]!r}; each line is an object such as {{"path": "a/1.mp4"}}')
    return row


def _parquet(labels: Labels) -> tuple[Sequence[str], Iterator[Row]]:
    try:
        file = pq.ParquetFile(pa.BufferReader(labels.read("")))
        known = [name for name in COLUMNS if name in file.schema_arrow.names]
        rows = file.read(columns=known).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{labels.place} cannot be read: it is no Parquet file ({error})") from None
    return file.schema_arrow.names, ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _fits(labels: Labels) -> bool:
    return labels.suffix in (".csv", ".parquet", *JSON_LINES)


MANIFEST = Source(
    "a manifest (.csv, .jsonl, .ndjson or .parquet) with the column path and any of label, source, split",
    _fits,
    manifest_items,
)
