"""What is known of one video, and what every way of telling it has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vicc_ray.datasets.annotations import AnnotationSource
from vicc_ray.datasets.file_listing import FileListing, nfc
from vicc_ray.datasets.locations import Location
from vicc_ray.errors import UserError

SPLITS = ("train", "test", "")


@dataclass(frozen=True, slots=True)
class VideoItem:
    """One input of the preparation.

    ``id`` is the path below the videos folder with forward slashes; of a data set, the path in its published form,
    wherever the file was found. ``source`` names the original recording that a video was cut from (its own id where
    nothing is known); videos of one source stay on one side of the split. ``split`` is one of :data:`SPLITS`; "" is in
    neither, or not yet decided. Nothing may lie at ``place``: the video then counts as a failure.
    """

    location: Location
    id: str
    label: str
    source: str
    split: str


@dataclass(frozen=True)
class AnnotationFormat:
    """One form that ``--labels`` may have."""

    description: str
    """What it is, for the message that lists all of them."""
    matches: Callable[[AnnotationSource], bool]
    """Whether what was given is of this form."""
    read_items: Callable[[AnnotationSource, FileListing, int], list[VideoItem]]
    """The videos that it lists; the number is the fold of lists that have several."""
    has_folds: bool = False
    """Whether it has several folds."""


def top_folder(id: str) -> str:
    """The label of a video about which nothing is said; "" where it lies in no folder.

    In Unicode's composed form: a folder may have the other one in the copy of a class that came from a Mac.
    """
    return nfc(id.split("/")[0]) if "/" in id else ""


def deduplicated(read_items: Iterable[VideoItem], labels: AnnotationSource) -> list[VideoItem]:
    """The items, of which equal ones count once.

    Raises:
        UserError: two items have one id and differ.
    """
    found: dict[str, VideoItem] = {}
    for item in read_items:
        other = found.setdefault(item.id, item)
        if other != item:
            raise UserError(
                f"{labels.location} names {item.id} more than once: label {other.label!r} and {item.label!r}, split "
                f"{other.split!r} and {item.split!r}, source {other.source!r} and {item.source!r}; keep one of them"
            )
    return list(found.values())
