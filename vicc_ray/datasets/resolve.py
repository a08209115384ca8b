"""From what the user gave to the list of videos.

``--labels none`` says that nothing is known of the videos: folders are no classes, and a manifest beside them is not
read. What else ``--labels`` is, is told by what lies there, in this order:

1. nothing given: ``labels.csv``, ``labels.jsonl`` or ``labels.parquet`` in the videos folder, as a manifest; where none
   lies there, one folder a class
2. a folder with ``trainlist01.txt``, ``testlist01.txt`` or ``classInd.txt``: UCF101
3. a folder with files ``<class>_test_split1.txt``: HMDB51
4. a folder with ``train.csv``, ``val.csv``, ``validate.csv`` or ``test.csv`` (or names that end so, such as
   ``kinetics-400_train.csv``), or one CSV whose first line has the column ``youtube_id``: Kinetics
5. any other file ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` or ``.parquet``: a manifest
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vicc_ray.datasets.annotations import AnnotationSource
from vicc_ray.datasets.base import AnnotationFormat, VideoItem
from vicc_ray.datasets.class_folders import folder_items
from vicc_ray.datasets.file_listing import SUFFIXES, FileListing
from vicc_ray.datasets.hmdb51 import HMDB51
from vicc_ray.datasets.kinetics import KINETICS
from vicc_ray.datasets.locations import location_of, size_and_mtime
from vicc_ray.datasets.manifest import DEFAULT_NAMES, MANIFEST, MANIFEST_SUFFIXES
from vicc_ray.datasets.ucf101 import UCF101
from vicc_ray.errors import UserError

FORMATS = (UCF101, HMDB51, KINETICS, MANIFEST)
NO_LABELS = "none"
"""The value of ``--labels`` with which no video has a label."""


@dataclass(frozen=True)
class Inputs:
    """The videos to prepare, sorted by id."""

    items: tuple[VideoItem, ...]
    unlisted: int = 0
    """Videos in the folder that the labels do not name."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """How the request was understood, a line each: columns, links, files that were not used."""


def list_videos(videos: Path | str, labels: Path | str | None = None, fold: int = 1) -> Inputs:
    """The videos of a folder, here or at an address, which is listed once.

    Without labels, and with :data:`NO_LABELS`: every file with a video suffix, hidden ones left out, links of this
    machine followed. With other labels (see the head of this file): what they list and nothing else, whether the files
    exist or not.

    Args:
        fold: 1 to 3; which of the folds of UCF101 and HMDB51.

    Raises:
        UserError: no such folder, a folder in it that cannot be listed, no videos in it, or labels that cannot be used.
    """
    listing = FileListing(location_of(videos))
    given = _given_labels(labels, listing)
    annotation_format = _format_of(given) if given else None
    if given and annotation_format:
        items = annotation_format.read_items(given, listing, fold)
    else:
        items = folder_items(listing, classes=not is_no_labels(labels))
    if not items:
        where = f"{given.location} names no video" if given else f"no videos in {listing.folder}"
        raise UserError(f"{where}; file names that count: {' '.join(sorted(SUFFIXES))}")
    used = {item.location for item in items}
    unlisted = sum(listing.at(id) not in used for id in listing.videos)
    notes = _notes(items, given, listing)
    if fold != 1 and not (annotation_format and annotation_format.has_folds):
        notes.append(f"prepare.split_fold {fold} changes nothing: only the lists of UCF101 and HMDB51 have folds")
    return Inputs(tuple(sorted(items, key=lambda item: item.id)), unlisted, tuple(notes))


def _given_labels(labels: Path | str | None, listing: FileListing) -> AnnotationSource | None:
    """Where the labels are; None where nothing but the folders says what the videos are."""
    if is_no_labels(labels):
        return None
    return AnnotationSource(location_of(labels)) if labels else _default_labels(listing)


def is_no_labels(labels: Path | str | None) -> bool:
    """Whether ``--labels`` says that no video has a label."""
    return isinstance(labels, str) and labels.casefold() == NO_LABELS


def _default_labels(listing: FileListing) -> AnnotationSource | None:
    there = sorted(id for id in listing.files if id.casefold() in DEFAULT_NAMES)
    if len(there) > 1:
        raise UserError(f"both {there[0]} and {there[1]} lie in {listing.folder}; say with --labels which one counts")
    return AnnotationSource(listing.at(there[0])) if there else None


def _notes(items: Sequence[VideoItem], labels: AnnotationSource | None, listing: FileListing) -> list[str]:
    if labels is None:
        own = [*_unused_tables(listing), *_other_files(listing)]
    else:
        own = [*labels.notes, *_nothing_there(items, labels, listing)]
    return [*own, *listing.notes(), *_labels_alike(items)]


def _unused_tables(listing: FileListing) -> list[str]:
    tables = [id for id in sorted(listing.files) if "/" not in id and id.lower().endswith(MANIFEST_SUFFIXES)]
    return [f"{id} in {listing.folder} is not read; --labels FILE reads one" for id in tables]


def _other_files(listing: FileListing) -> list[str]:
    """Files that are no inputs because of their names; a suffix may be missing among those that count."""
    kinds = Counter(
        PurePosixPath(id).suffix.lower() or "without a suffix"
        for id in set(listing.files) - set(listing.videos)
        if not id.startswith(".") and "/." not in id
    )
    some = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(5)) + (", ..." if len(kinds) > 5 else "")
    return [f"{kinds.total()} files in {listing.folder} are not named like videos: {some}"] if kinds else []


def _nothing_there(items: Sequence[VideoItem], labels: AnnotationSource, listing: FileListing) -> list[str]:
    if any(size_and_mtime(item.location) for item in items):
        return []
    found = f"{listing.videos[0]} lies there" if listing.videos else "no video lies there"
    return [
        f"none of the {len(items)} videos that {labels.location} names is in {listing.folder}, {items[0].id} for one "
        f"({found}): are these the labels of these videos, and do paths begin below that folder?"
    ]


def _labels_alike(items: Sequence[VideoItem]) -> list[str]:
    by_name: dict[str, set[str]] = defaultdict(set)
    for item in items:
        by_name[item.label.casefold()].add(item.label)
    alike = [sorted(labels) for _, labels in sorted(by_name.items()) if len(labels) > 1]
    return [f"the labels {' and '.join(map(repr, labels))} differ in case alone, and are two" for labels in alike]


def _format_of(labels: AnnotationSource) -> AnnotationFormat:
    for annotation_format in FORMATS:
        if annotation_format.matches(labels):
            return annotation_format
    if labels.names is None:
        labels.read("")  # says so where nothing is there
    what = "another file" if labels.names is None else f"a folder of {len(labels.names)} other files"
    forms = "; ".join(annotation_format.description for annotation_format in FORMATS)
    raise UserError(f"--labels {labels.location} is {what}; it may be: {forms}; or not given, with one folder a class")
