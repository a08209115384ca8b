"""Lists of Kinetics: a CSV, or a folder of train.csv, val.csv (or validate.csv) and test.csv.

Columns: label, youtube_id, time_start, time_end; optional are split (default: from the file's name) and others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vicc_ray.datasets.annotations import AnnotationSource
from vicc_ray.datasets.base import AnnotationFormat, VideoItem, deduplicated
from vicc_ray.datasets.columns import match_columns, normalized_name
from vicc_ray.datasets.csv_table import header_names, read_csv, row_by_name
from vicc_ray.datasets.file_listing import FileListing, FileMatcher, nfc
from vicc_ray.errors import UserError

SPLIT_OF = {"train": "train", "val": "test", "validate": "test", "validation": "test", "test": ""}
"""Split of Kinetics -> ours. Published results are on the validation set: the labels of the test set are not public."""
COLUMNS = ("youtube_id", "time_start", "time_end")
_LIST = re.compile(rf"(?:.*[^a-z])?({'|'.join(SPLIT_OF)})\.csv", re.IGNORECASE)


def kinetics_items(labels: AnnotationSource, listing: FileListing, fold: int = 1) -> list[VideoItem]:
    """All listed videos. The published path is ``label/ID_START_END.mp4`` (six digits each), the source is the ID.

    Raises:
        UserError: a list or a line of it is invalid.
    """
    rows = [row for name in _lists(labels) for row in _rows(labels, name)]
    matcher = FileMatcher(listing, labels.location, {label for label, _, _, _ in rows if label})
    return deduplicated((_item(matcher, *row) for row in rows), labels)


def _item(matcher: FileMatcher, label: str, source: str, name: str, split: str) -> VideoItem:
    id = f"{label}/{name}" if label else name
    return VideoItem(matcher.locate(id), id, label, source, split)


def _lists(labels: AnnotationSource) -> list[str]:
    return [""] if labels.names is None else [name for name in labels.names if _LIST.fullmatch(name)]


def _rows(labels: AnnotationSource, list_name: str) -> Iterator[tuple[str, str, str, str]]:
    """Label, source, file name and split of every line."""
    path = labels.path(list_name)
    names, lines = read_csv(labels.text(list_name), path, "youtube_id")
    columns = match_columns(names, (*COLUMNS, "label", "split"), path)
    missing = [name for name in COLUMNS if name in columns.missing]
    if missing:
        raise UserError(f"{path}: no column named {missing[0]}; a Kinetics list has label, {', '.join(COLUMNS)}, split")
    labels.notes.append(f"{path}: {columns}")
    named = _LIST.fullmatch(labels.file_name(list_name))
    for number, cells in lines:
        where = f"{path} line {number}"
        line = row_by_name(names, cells, where)
        row = {name: line[column].strip() for name, column in columns.used.items()}
        yield _row(row, named[1] if named else "", where)


def _row(row: dict[str, str], split_of_file: str, where: str) -> tuple[str, str, str, str]:
    split = (row.get("split") or split_of_file).lower()
    if split not in SPLIT_OF:
        raise UserError(f"{where}: split {split!r} given; allowed: {', '.join(SPLIT_OF)}, here or in the file's name")
    try:
        start, end = (int(float(row[name])) for name in COLUMNS[1:])
    except (ValueError, OverflowError):
        times = f"{row['time_start']!r} and {row['time_end']!r}"
        raise UserError(f"{where}: time_start and time_end: {times} given; seconds are expected") from None
    source = row["youtube_id"]
    return nfc(row.get("label", "")), source, f"{source}_{start:06d}_{end:06d}.mp4", SPLIT_OF[split]


def _fits(labels: AnnotationSource) -> bool:
    if labels.names is not None:
        return bool(_lists(labels))
    if labels.suffix not in (".csv", ".tsv"):
        return False
    names = {normalized_name(name) for name in header_names(labels.text(), str(labels.location), "youtube_id")}
    return "youtube_id" in names and "path" not in names


KINETICS = AnnotationFormat(
    "a Kinetics CSV (label, youtube_id, time_start, time_end, split) or a folder of train.csv, val.csv, test.csv",
    _fits,
    kinetics_items,
)
