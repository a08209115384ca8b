"""One listing of the videos folder, which answers every question about what lies there."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

from vicc_ray.datasets.file_tree import escapes_folder
from vicc_ray.datasets.locations import Location, below, list_files
from vicc_ray.errors import UserError

_NAMES = (
    ".264 .265 .266 .3g2 .3gp .apng .asf .avc .avi .avs2 .avs3 .cavs .dav .dif .divx .dv .f4v .flc .fli .flv .gif .gxf "
    ".h261 .h263 .h264 .h265 .h266 .h26l .hevc .ivf .m1v .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mov .mp4 "
    ".mpe .mpeg .mpg .mpv .mts .mxf .nsv .nut .obu .ogm .ogv .qt .rm .rmvb .smk .swf .ts .vc1 .vob .vvc .webm .wmv "
    ".wtv .y4m"
)
SUFFIXES = frozenset(_NAMES.split())
"""File names that count as videos, in lower case."""


class FileListing:
    """The files of a folder by id: the name below the folder, forward slashes, in which bytes that are no UTF-8 are
    written with escapes (ids go into JSON and Parquet)."""

    def __init__(self, folder: Location) -> None:
        """List ``folder``; see :func:`list_files` for the errors."""
        self.folder = folder
        tree = list_files(folder)
        self.errors, self.broken_links, self.aliases = tree.errors, tree.broken_links, tree.aliases
        self.files = {_id(name): location for name, location in tree.files.items()}
        self.videos = sorted(id for id in self.files if _is_video(id))
        self._otherwise: dict[str, list[str]] = defaultdict(list)
        for id in self.files:
            if nfc(id) != id:
                self._otherwise[nfc(id)].append(id)

    def has(self, id: str) -> bool:
        """Whether :meth:`at` finds a file."""
        return self._found(id) is not None

    def at(self, id: str) -> Location:
        """The file of that id, or the only one whose id differs in Unicode's composition alone (a Mac writes ``e`` and
        an accent for ``é``), or where it would lie."""
        found = self._found(id)
        return below(self.folder, id) if found is None else self.files[found]

    def _found(self, id: str) -> str | None:
        if id in self.files:
            return id
        alike = [*self._otherwise.get(nfc(id), ()), *([nfc(id)] if nfc(id) in self.files else [])]
        return alike[0] if len(alike) == 1 else None

    def check_complete(self, dead_links: bool = True) -> None:
        """See that nothing is missing for which videos have to be looked for.

        Args:
            dead_links: whether links to nothing may be there: where lists name the videos, all missing ones are told.

        Raises:
            UserError: a folder could not be listed, or a link leads to nothing without ``dead_links``.
        """
        errors = sorted((self.errors if dead_links else self.errors | self.broken_links).items())
        if errors:
            some = ", ".join(f"{name} ({why})" for name, why in errors[:3]) + (", ..." if len(errors) > 3 else "")
            raise UserError(
                f"{len(errors)} of the folders in {self.folder} cannot be listed, and their videos would be missing: "
                f"{some}; make them readable, remove links that lead to nothing, or give a manifest (--labels) of the "
                "videos that count"
            )

    def notes(self) -> list[str]:
        """What the user should know of what was listed."""
        return [
            *(f"{_id(name)} is {why}; no video is listed below it" for name, why in sorted(self.broken_links.items())),
            *(
                f"{_id(name)} is the folder {_id(other.name) or self.folder} once more, whose videos count once"
                for name, other in sorted(self.aliases.items())
            ),
        ]


def nfc(text: str) -> str:
    """Unicode's form NFC, in which equal texts are equal."""
    return unicodedata.normalize("NFC", text)


def _id(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _is_video(id: str) -> bool:
    hidden = id.startswith(".") or "/." in id
    return not hidden and f".{id.rpartition('.')[2].lower()}" in SUFFIXES


class FileMatcher:
    """Finds the videos of a data set, whose published paths are ``label/name``, in the folder of somebody.

    A video is a file of that name, whatever its video suffix, in a folder named like the label (underscores for blanks,
    upper for lower case), or in a folder that is named like none of the labels; how deep does not matter.
    """

    def __init__(
        self, listing: FileListing, lists: object, labels: Iterable[str], normalized: Callable[[str], str] = str
    ):
        """``lists``: what to call the lists; ``plain``: what of a file's name without suffix must be equal, beside
        Unicode's composition.

        Raises:
            UserError: a folder of the listing could not be listed.
        """
        listing.check_complete()
        self._listing, self._lists = listing, lists
        self._plain = normalized
        self._labels = {_plain_label(label) for label in labels}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for id in listing.videos:
            self._by_name[self._key(id)].append(id)

    def location(self, id: str) -> Location:
        """The file of the video whose published path is ``id``, or where that would lie.

        Raises:
            UserError: the path leads out of the videos folder.
        """
        if escapes_folder(id):
            raise UserError(
                f"{self._lists} names {id!r}, which leads out of the videos folder {self._listing.folder}: take the "
                "line away, or get the lists from where the data set is published"
            )
        wanted = _plain_label(_folder(id))
        found = [other for other in self._by_name.get(self._key(id), ()) if self._may_be(wanted, other)]
        found.sort(key=lambda other: (other != id, _plain_label(_folder(other)) != wanted, len(other)))
        return self._listing.at(found[0] if found else id)

    def _may_be(self, wanted: str, id: str) -> bool:
        folder = _plain_label(_folder(id))
        return folder == wanted or folder not in self._labels

    def _key(self, id: str) -> str:
        return self._plain(nfc(id.rpartition("/")[2].rpartition(".")[0]))


def _folder(id: str) -> str:
    return id.rpartition("/")[0].rpartition("/")[2]


def _plain_label(label: str) -> str:
    return nfc(label.replace("_", " ").casefold())
