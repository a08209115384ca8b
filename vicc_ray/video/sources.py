"""Which videos a folder holds, what is known of each, and which are held out for testing."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from vicc_ray.errors import UserError

_NAMES = (
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .h264 .ivf .m1v .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf "
    ".ogm .ogv .rm .rmvb .ts .vob .webm .wmv .wtv"
)
SUFFIXES = frozenset(_NAMES.split())
"""File names that count as videos, in lower case."""
LABELS_FILE = "labels.csv"
"""A labels file of this name in the videos folder is used without being asked for."""
SPLITS = ("train", "test", "")


@dataclass(frozen=True)
class VideoItem:
    """One input of the preparation.

    ``id`` is the path below the videos folder with forward slashes. ``source`` names the original recording that a
    video was cut from (its own id where nothing is known); videos of one source stay on one side of the split.
    """

    path: Path
    id: str
    label: str
    source: str
    split: str


def list_videos(videos: Path, labels_csv: Path | None = None) -> list[VideoItem]:
    """The videos of a folder, sorted by id.

    Without a labels file: every file with a video suffix, hidden ones left out, links followed; the label is the first
    folder below ``videos``, "" for files that lie in none. With one (``labels_csv``, or ``videos/labels.csv`` where
    that exists): the rows of the file and nothing else, whether the named files exist or not. Its column ``path``
    (below ``videos``) must be there; ``label`` (default: the first folder), ``source`` and ``split`` may be.

    Raises:
        UserError: no such folder, no videos in it, or a labels file that cannot be read.
    """
    if not videos.is_dir():
        raise UserError(f"no folder of videos at {videos}: {'that is a file' if videos.exists() else 'nothing there'}")
    labels_csv = labels_csv or default_labels(videos)
    items = _from_labels(videos, labels_csv) if labels_csv else [_item(videos, path) for path in _walk(videos)]
    if not items:
        where = f"{labels_csv} names no video" if labels_csv else f"no videos in {videos}"
        raise UserError(f"{where}; file names that count: {' '.join(sorted(SUFFIXES))}")
    return sorted(items, key=lambda item: item.id)


def default_labels(videos: Path) -> Path | None:
    """The labels file that lies in the folder, if one does."""
    path = videos / LABELS_FILE
    return path if path.is_file() else None


def unlisted(videos: Path, items: Sequence[VideoItem]) -> int:
    """How many videos lie in the folder and are not among ``items``."""
    known = {item.id for item in items}
    return sum(_id(videos, path) not in known for path in _walk(videos))


def assign_splits(items: Sequence[VideoItem], test_share: float, seed: int) -> list[VideoItem]:
    """Give each item without a split "train" or "test", whole sources at a time.

    Sources are gone through in a seeded random order; one is held out if that brings the held-out videos nearer to
    ``test_share`` of every label (on a tie: of all videos). A source that has a split already keeps it.
    """
    given = {item.source: item.split for item in items if item.split}
    per_source: dict[str, Counter[str]] = {}
    for item in items:
        per_source.setdefault(item.source, Counter())[item.label] += 1
    short = {label: test_share * n for label, n in Counter(item.label for item in items).items()}
    for source, split in given.items():
        if split == "test":
            _hold_out(short, per_source[source])
    splits = dict(given)
    undecided = sorted(set(per_source) - set(given))
    for n in np.random.default_rng(seed).permutation(len(undecided)):
        source = undecided[n]
        splits[source] = "test" if _helps(short, per_source[source]) else "train"
        if splits[source] == "test":
            _hold_out(short, per_source[source])
    return [item if item.split else replace(item, split=splits[item.source]) for item in items]


def _hold_out(short: dict[str, float], labels: Counter[str]) -> None:
    for label, n in labels.items():
        short[label] -= n


def _helps(short: dict[str, float], labels: Counter[str]) -> bool:
    """Whether holding out ``labels`` lessens what is short (negative: too much) of the labels, or on a tie of all."""
    gain = sum(abs(short[label]) - abs(short[label] - n) for label, n in labels.items())
    if abs(gain) > 1e-9:
        return gain > 0
    total = sum(short.values())
    return abs(total - sum(labels.values())) < abs(total) - 1e-9


def _walk(videos: Path) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder, folders, files in os.walk(videos, followlinks=True):
        real = Path(folder).resolve()
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            paths = (Path(folder, name) for name in files if not name.startswith("."))
            yield from (path for path in paths if path.suffix.lower() in SUFFIXES)
        seen.add(real)


def _id(videos: Path, path: Path) -> str:
    # A file name that is not UTF-8 is written with escapes: ids go into JSON and Parquet.
    return path.relative_to(videos).as_posix().encode("utf-8", "backslashreplace").decode()


def _item(videos: Path, path: Path) -> VideoItem:
    id = _id(videos, path)
    return VideoItem(path, id, _first_folder(id), id, "")


def _first_folder(id: str) -> str:
    return id.split("/")[0] if "/" in id else ""


def _from_labels(videos: Path, labels_csv: Path) -> list[VideoItem]:
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            if "path" not in (reader.fieldnames or []):
                raise UserError(
                    f"{labels_csv}: no column named path; the first line must name the columns path, and any of "
                    f"label, source, split (it is {','.join(reader.fieldnames or [])!r})"
                )
            items = [_labelled(videos, row, f"{labels_csv} line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"labels file {labels_csv} cannot be read: {error}") from None
    twice = [id for id, n in Counter(item.id for item in items).items() if n > 1]
    if twice:
        raise UserError(f"{labels_csv} names {twice[0]} more than once; each video has one line")
    return items


def _labelled(videos: Path, row: dict[str, str], where: str) -> VideoItem:
    path = PurePosixPath(row["path"].strip())
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UserError(f"{where}: path {row['path']!r} must be a path below the videos folder {videos}")
    split = (row.get("split") or "").strip()
    if split not in SPLITS:
        raise UserError(f"{where}: split {split!r}; allowed are train, test, or nothing (the video is then in neither)")
    id = str(path)
    label = row["label"].strip() if "label" in row else _first_folder(id)
    return VideoItem(videos / path, id, label, (row.get("source") or "").strip() or id, split)
