"""One listing of the videos folder, which answers every question about what lies there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from vicc_ray.video.sources.places import Place, below, walk

_NAMES = (
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .h264 .ivf .m1v .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf "
    ".ogm .ogv .rm .rmvb .ts .vob .webm .wmv .wtv"
)
SUFFIXES = frozenset(_NAMES.split())
"""File names that count as videos, in lower case."""


class Listing:
    """The files of a folder by id: the name below the folder, forward slashes, in which bytes that are no UTF-8 are
    written with escapes (ids go into JSON and Parquet)."""

    def __init__(self, folder: Place) -> None:
        """List ``folder``; see :func:`walk` for the errors."""
        self.folder = folder
        self.files = {name.encode("utf-8", "backslashreplace").decode(): place for name, place in walk(folder)}
        self.videos = sorted(id for id in self.files if _is_video(id))

    def at(self, id: str) -> Place:
        """The file of that id, or where it would lie."""
        return self.files.get(id) or below(self.folder, id)


def _is_video(id: str) -> bool:
    hidden = id.startswith(".") or "/." in id
    return not hidden and f".{id.rpartition('.')[2].lower()}" in SUFFIXES


class Finder:
    """Finds the videos of a data set, whose published paths are ``label/name``, in the folder of somebody.

    A video is a file of that name, whatever its video suffix, in a folder named like the label (underscores for blanks,
    upper for lower case), or in a folder that is named like none of the labels; how deep does not matter.
    """

    def __init__(self, listing: Listing, labels: Iterable[str], plain: Callable[[str], str] = str) -> None:
        """``plain``: what of a file's name without suffix must be equal."""
        self._listing = listing
        self._plain = plain
        self._labels = {_plain_label(label) for label in labels}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for id in listing.videos:
            self._by_name[self._key(id)].append(id)

    def place(self, id: str) -> Place:
        """The file of the video whose published path is ``id``, or where that would lie."""
        wanted = _plain_label(_folder(id))
        found = [other for other in self._by_name.get(self._key(id), ()) if self._may_be(wanted, other)]
        found.sort(key=lambda other: (other != id, _plain_label(_folder(other)) != wanted, len(other)))
        return self._listing.at(found[0] if found else id)

    def _may_be(self, wanted: str, id: str) -> bool:
        folder = _plain_label(_folder(id))
        return folder == wanted or folder not in self._labels

    def _key(self, id: str) -> str:
        return self._plain(id.rpartition("/")[2].rpartition(".")[0])


def _folder(id: str) -> str:
    return id.rpartition("/")[0].rpartition("/")[2]


def _plain_label(label: str) -> str:
    return label.replace("_", " ").casefold()
