"""One input video with its metadata, and the interface of annotation formats."""

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
    """One input of ``prepare``.

    Attributes:
        location: file of the video. If it does not exist, the video counts as a failure.
        id: path relative to the videos folder, with forward slashes. For a published data set it is the published
            path, wherever the file was found.
        label: class, "" if unknown.
        source: original recording that the video was cut from; its id if unknown. All videos of a source are in one
            split.
        split: one of :data:`SPLITS`; "" is neither, or not yet assigned.
    """

    location: Location
    id: str
    label: str
    source: str
    split: str


@dataclass(frozen=True)
class AnnotationFormat:
    """A format of annotations that ``--labels`` accepts."""

    description: str
    """Text for the message that lists all formats."""
    matches: Callable[[AnnotationSource], bool]
    """Whether a source has this format."""
    read_items: Callable[[AnnotationSource, FileListing, int], list[VideoItem]]
    """Reads the listed videos; the number is the fold, for formats that have folds."""
    has_folds: bool = False
    """Whether the format has several folds."""


def top_folder(id: str) -> str:
    """Default label of a video: the top folder of its id, in Unicode form NFC; "" if it is in no folder.

    Folders copied from a Mac can be in form NFD.
    """
    return nfc(id.split("/")[0]) if "/" in id else ""


def deduplicated(items: Iterable[VideoItem], labels: AnnotationSource) -> list[VideoItem]:
    """Drop repeated equal items.

    Raises:
        UserError: two items have the same id and differ otherwise.
    """
    by_id: dict[str, VideoItem] = {}
    for item in items:
        other = by_id.setdefault(item.id, item)
        if other != item:
            raise UserError(
                f"{labels.location} lists {item.id} more than once: label {other.label!r} and {item.label!r}, split "
                f"{other.split!r} and {item.split!r}, source {other.source!r} and {item.source!r}; keep one of them"
            )
    return list(by_id.values())
