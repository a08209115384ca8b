"""Resolution of ``--videos`` and ``--labels`` to the list of videos.

With ``--labels none`` the videos have no labels: folders are not classes, and no manifest is read. Otherwise the first
matching rule gives the format of the annotations:

1. no ``--labels``: the manifest ``labels.csv``, ``labels.jsonl`` or ``labels.parquet`` in the videos folder, or, if
   there is none, one folder per class
2. a folder with ``trainlist01.txt``, ``testlist01.txt`` or ``classInd.txt``: UCF101
3. a folder with files ``<class>_test_split1.txt``: HMDB51
4. a folder with ``train.csv``, ``val.csv``, ``validate.csv`` or ``test.csv`` (or names with these endings, such as
   ``kinetics-400_train.csv``), or a CSV with the column ``youtube_id``: Kinetics
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
"""Annotation formats in the order in which they are tried."""
NO_LABELS = "none"
"""Value of ``--labels`` for videos without labels."""


@dataclass(frozen=True)
class Inputs:
    """Videos to prepare, sorted by id."""

    items: tuple[VideoItem, ...]
    unlisted: int = 0
    """Number of videos in the folder that the annotations do not list."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Remarks on the resolution, one line each: columns, links, unused files."""


def list_videos(videos: Path | str, labels: Path | str | None = None, fold: int = 1) -> Inputs:
    """Videos of a local or remote folder, which is listed once.

    Without annotations, these are all files with a video suffix that are not hidden; local links are followed. With
    annotations, they are the listed videos, whether the files exist or not.

    Args:
        fold: fold of UCF101 or HMDB51, 1 to 3.

    Raises:
        UserError: the folder does not exist or cannot be listed, there are no videos, or the annotations are invalid.
    """
    listing = FileListing(location_of(videos))
    source = _annotation_source(labels, listing)
    annotation_format = _format_of(source) if source else None
    if source and annotation_format:
        items = annotation_format.read_items(source, listing, fold)
    else:
        items = folder_items(listing, classes=not is_no_labels(labels))
    if not items:
        problem = f"{source.location} lists no video" if source else f"no videos in {listing.folder}"
        raise UserError(f"{problem}; suffixes of videos: {' '.join(sorted(SUFFIXES))}")
    used = {item.location for item in items}
    unlisted = sum(listing.locate(id) not in used for id in listing.videos)
    notes = _notes(items, source, listing)
    if fold != 1 and not (annotation_format and annotation_format.has_folds):
        notes.append(f"prepare.split_fold {fold} changes nothing: only the lists of UCF101 and HMDB51 have folds")
    return Inputs(tuple(sorted(items, key=lambda item: item.id)), unlisted, tuple(notes))


def _annotation_source(labels: Path | str | None, listing: FileListing) -> AnnotationSource | None:
    """Source of the annotations; None without annotations."""
    if is_no_labels(labels):
        return None
    return AnnotationSource(location_of(labels)) if labels else _default_labels(listing)


def is_no_labels(labels: Path | str | None) -> bool:
    """Whether the value of ``--labels`` is :data:`NO_LABELS`."""
    return isinstance(labels, str) and labels.casefold() == NO_LABELS


def _default_labels(listing: FileListing) -> AnnotationSource | None:
    manifests = sorted(id for id in listing.files if id.casefold() in DEFAULT_NAMES)
    if len(manifests) > 1:
        raise UserError(
            f"{listing.folder} contains {manifests[0]} and {manifests[1]}; choose one of them with --labels"
        )
    return AnnotationSource(listing.locate(manifests[0])) if manifests else None


def _notes(items: Sequence[VideoItem], labels: AnnotationSource | None, listing: FileListing) -> list[str]:
    if labels is None:
        notes = [*_unused_tables(listing), *_other_files(listing)]
    else:
        notes = [*labels.notes, *_no_file_exists(items, labels, listing)]
    return [*notes, *listing.notes(), *_similar_labels(items)]


def _unused_tables(listing: FileListing) -> list[str]:
    tables = [id for id in sorted(listing.files) if "/" not in id and id.lower().endswith(MANIFEST_SUFFIXES)]
    return [f"{id} in {listing.folder} is not read; use --labels FILE to read it" for id in tables]


def _other_files(listing: FileListing) -> list[str]:
    """Note on files without a video suffix; a suffix may be missing in :data:`SUFFIXES`."""
    suffixes = Counter(
        PurePosixPath(id).suffix.lower() or "without a suffix"
        for id in set(listing.files) - set(listing.videos)
        if not id.startswith(".") and "/." not in id
    )
    some = ", ".join(f"{n} {suffix}" for suffix, n in suffixes.most_common(5)) + (", ..." if len(suffixes) > 5 else "")
    return [f"{suffixes.total()} files in {listing.folder} have no video suffix: {some}"] if suffixes else []


def _no_file_exists(items: Sequence[VideoItem], labels: AnnotationSource, listing: FileListing) -> list[str]:
    if any(size_and_mtime(item.location) for item in items):
        return []
    example = f"which contains {listing.videos[0]}" if listing.videos else "which contains no video"
    return [
        f"none of the {len(items)} videos that {labels.location} lists (such as {items[0].id}) is in {listing.folder}, "
        f"{example}; check that the labels belong to these videos and that paths are relative to that folder"
    ]


def _similar_labels(items: Sequence[VideoItem]) -> list[str]:
    by_name: dict[str, set[str]] = defaultdict(set)
    for item in items:
        by_name[item.label.casefold()].add(item.label)
    alike = [sorted(labels) for _, labels in sorted(by_name.items()) if len(labels) > 1]
    return [f"the labels {' and '.join(map(repr, labels))} differ only in case and count as two" for labels in alike]


def _format_of(labels: AnnotationSource) -> AnnotationFormat:
    for annotation_format in FORMATS:
        if annotation_format.matches(labels):
            return annotation_format
    if labels.names is None:
        labels.read("")  # raises UserError if the file does not exist
    kind = "another file" if labels.names is None else f"a folder of {len(labels.names)} other files"
    forms = "; ".join(annotation_format.description for annotation_format in FORMATS)
    raise UserError(
        f"--labels: {labels.location} is {kind}; allowed: {forms}; or no --labels, with one folder per class"
    )
