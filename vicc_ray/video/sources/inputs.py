"""From what the user gave to the list of videos.

``--labels none`` says that nothing is known of the videos: folders are no classes, and a manifest beside them is not
read. What else ``--labels`` is, is told by what lies there, in this order:

1. nothing given: ``labels.csv``, ``labels.jsonl`` or ``labels.parquet`` in the videos folder, as a manifest; where none
   lies there, one folder a class
2. a folder with ``trainlist01.txt``, ``testlist01.txt`` or ``classInd.txt``: UCF101
3. a folder with files ``<class>_test_split1.txt``: HMDB51
4. a folder with ``train.csv``, ``val.csv``, ``validate.csv`` or ``test.csv`` (or names that end so, such as
   ``kinetics-400_train.csv``), or one CSV whose first line has the column ``youtube_id``: Kinetics
5. any other file ``.csv``, ``.jsonl``, ``.ndjson`` or ``.parquet``: a manifest
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.video.sources.folder import folder_items
from vicc_ray.video.sources.hmdb51 import HMDB51
from vicc_ray.video.sources.item import Source, VideoItem
from vicc_ray.video.sources.kinetics import KINETICS
from vicc_ray.video.sources.labels import Labels
from vicc_ray.video.sources.listing import SUFFIXES, Listing
from vicc_ray.video.sources.manifest import DEFAULT_NAMES, MANIFEST
from vicc_ray.video.sources.places import below, place_of
from vicc_ray.video.sources.ucf101 import UCF101

SOURCES = (UCF101, HMDB51, KINETICS, MANIFEST)
NO_LABELS = "none"
"""The value of ``--labels`` with which no video has a label."""


@dataclass(frozen=True)
class Inputs:
    """The videos to prepare, sorted by id."""

    items: tuple[VideoItem, ...]
    unlisted: int = 0
    """Videos in the folder that the labels do not name."""


def list_videos(videos: Path | str, labels: Path | str | None = None, fold: int = 1) -> Inputs:
    """The videos of a folder, here or at an address, which is listed once.

    Without labels, and with :data:`NO_LABELS`: every file with a video suffix, hidden ones left out, links of this
    machine followed. With other labels (see the head of this file): what they list and nothing else, whether the files
    exist or not.

    Args:
        fold: 1 to 3; which of the folds of UCF101 and HMDB51.

    Raises:
        UserError: no such folder, no videos in it, or labels that cannot be used.
    """
    listing = Listing(place_of(videos))
    given = _given_labels(labels, listing)
    items = _source(given).items(given, listing, fold) if given else folder_items(listing, classes=labels != NO_LABELS)
    if not items:
        where = f"{given.place} names no video" if given else f"no videos in {listing.folder}"
        raise UserError(f"{where}; file names that count: {' '.join(sorted(SUFFIXES))}")
    used = {item.place for item in items}
    unlisted = sum(listing.at(id) not in used for id in listing.videos)
    return Inputs(tuple(sorted(items, key=lambda item: item.id)), unlisted)


def _given_labels(labels: Path | str | None, listing: Listing) -> Labels | None:
    """Where the labels are; None where nothing but the folders says what the videos are."""
    if labels == NO_LABELS:
        return None
    return Labels(place_of(labels)) if labels else _default_labels(listing)


def _default_labels(listing: Listing) -> Labels | None:
    there = [name for name in DEFAULT_NAMES if name in listing.files]
    if len(there) > 1:
        raise UserError(f"both {there[0]} and {there[1]} lie in {listing.folder}; say with --labels which one counts")
    return Labels(below(listing.folder, there[0])) if there else None


def _source(labels: Labels) -> Source:
    for source in SOURCES:
        if source.fits(labels):
            return source
    if labels.names is None:
        labels.read("")  # says so where nothing is there
    what = "another file" if labels.names is None else f"a folder of {len(labels.names)} other files"
    forms = "; ".join(source.words for source in SOURCES)
    raise UserError(f"--labels {labels.place} is {what}; it may be: {forms}; or not given, with one folder a class")
