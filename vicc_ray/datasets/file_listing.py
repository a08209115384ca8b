"""Listing of the videos folder, made once, and the matching of published paths to its files."""

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
"""Suffixes of video files, in lower case."""


class FileListing:
    """Files of a folder by id.

    An id is the path relative to the folder with forward slashes. Bytes that are not UTF-8 are escaped, because ids go
    into JSON and Parquet.
    """

    def __init__(self, folder: Location) -> None:
        """List ``folder``; :func:`list_files` names the errors."""
        self.folder = folder
        tree = list_files(folder)
        self.errors, self.broken_links, self.aliases = tree.errors, tree.broken_links, tree.aliases
        self.files = {_id(name): location for name, location in tree.files.items()}
        self.videos = sorted(id for id in self.files if _is_video(id))
        self._not_nfc: dict[str, list[str]] = defaultdict(list)
        for id in self.files:
            if nfc(id) != id:
                self._not_nfc[nfc(id)].append(id)

    def has(self, id: str) -> bool:
        """Whether :meth:`locate` finds a file."""
        return self._found(id) is not None

    def locate(self, id: str) -> Location:
        """Location of the file with an id, or where it would be.

        If there is no such file, the only one whose id has the same NFC form counts: a Mac writes ``é`` as two
        characters.
        """
        found = self._found(id)
        return below(self.folder, id) if found is None else self.files[found]

    def _found(self, id: str) -> str | None:
        if id in self.files:
            return id
        alike = [*self._not_nfc.get(nfc(id), ()), *([nfc(id)] if nfc(id) in self.files else [])]
        return alike[0] if len(alike) == 1 else None

    def check_complete(self, allow_broken_links: bool = True) -> None:
        """Check that every folder could be listed.

        Args:
            allow_broken_links: True if annotations name the videos, since each missing one is reported then.

        Raises:
            UserError: a folder could not be listed, or there are broken links that are not allowed.
        """
        errors = sorted((self.errors if allow_broken_links else self.errors | self.broken_links).items())
        if errors:
            some = ", ".join(f"{name} ({why})" for name, why in errors[:3]) + (", ..." if len(errors) > 3 else "")
            raise UserError(
                f"{len(errors)} folders in {self.folder} cannot be listed, so their videos would be missing: {some}; "
                "make them readable, remove broken links, or list the videos in a manifest (--labels)"
            )

    def notes(self) -> list[str]:
        """Remarks on the listing for the user: broken links, and folders with two names."""
        return [
            *(f"{_id(name)} is {why}; no video is listed below it" for name, why in sorted(self.broken_links.items())),
            *(
                f"{_id(name)} is a link to the folder {_id(other.name) or self.folder}, whose videos count once"
                for name, other in sorted(self.aliases.items())
            ),
        ]


def nfc(text: str) -> str:
    """Unicode form NFC, in which equal texts have equal code points."""
    return unicodedata.normalize("NFC", text)


def _id(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _is_video(id: str) -> bool:
    hidden = id.startswith(".") or "/." in id
    return not hidden and f".{id.rpartition('.')[2].lower()}" in SUFFIXES


class FileMatcher:
    """Finds the files of a published data set, whose paths are ``label/name``, in a user's folder.

    A match has that name with any video suffix. Its folder is named like the label (spaces may be underscores, and case
    does not count) or like none of the labels. The depth does not matter.

    Args:
        annotations: name of the annotations, for messages.
        labels: all labels of the data set.
        normalize: applied to file names without suffix before they are compared.

    Raises:
        UserError: a folder of the listing could not be listed.
    """

    def __init__(
        self, listing: FileListing, annotations: object, labels: Iterable[str], normalize: Callable[[str], str] = str
    ) -> None:
        listing.check_complete()
        self._listing, self._annotations = listing, annotations
        self._normalize = normalize
        self._labels = {_normalized_label(label) for label in labels}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for id in listing.videos:
            self._by_name[self._key(id)].append(id)

    def locate(self, id: str) -> Location:
        """Location of the video with the published path ``id``, or where it would be.

        Raises:
            UserError: the path is outside the videos folder.
        """
        if escapes_folder(id):
            raise UserError(
                f"{self._annotations} lists {id!r}, a path outside the videos folder {self._listing.folder}: remove "
                "the line, or download the lists again from the publisher of the data set"
            )
        label = _normalized_label(_folder(id))
        matches = [other for other in self._by_name.get(self._key(id), ()) if self._can_match(label, other)]
        matches.sort(key=lambda other: (other != id, _normalized_label(_folder(other)) != label, len(other)))
        return self._listing.locate(matches[0] if matches else id)

    def _can_match(self, label: str, id: str) -> bool:
        folder = _normalized_label(_folder(id))
        return folder == label or folder not in self._labels

    def _key(self, id: str) -> str:
        return self._normalize(nfc(id.rpartition("/")[2].rpartition(".")[0]))


def _folder(id: str) -> str:
    return id.rpartition("/")[0].rpartition("/")[2]


def _normalized_label(label: str) -> str:
    return nfc(label.replace("_", " ").casefold())
