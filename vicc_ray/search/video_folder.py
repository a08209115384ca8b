"""The folder that the videos of an index lie in: it hands out these files, as they were indexed, and no other.

The names come from the index, which somebody else may have made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vicc_ray.datasets.file_listing import SUFFIXES
from vicc_ray.utils.regular_file import NotRegularError, open_regular

LONGEST_NAME = 4096
"""Bytes; no system opens longer ones."""
UNKNOWN = (-1, -1)
"""Size and time of a file of which neither is known; none has them."""


class NoVideoError(Exception):
    """A video cannot be had; the message is for whoever asked for it."""


@dataclass(frozen=True)
class IndexedFile:
    """A video's file when it was indexed.

    Attributes:
        name: below the folder of videos.
        size: in bytes.
        mtime_ns: time of change; None where only the size can be compared, since what was indexed lay elsewhere.
    """

    name: bytes
    size: int
    mtime_ns: int | None


class VideoFolder:
    """A folder on this machine.

    Args:
        folders: the folder, and others that links in it may lead into; none: there are no videos.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self._real = [Path(os.path.realpath(folder)) for folder in folders]

    def has(self, file: IndexedFile) -> bool:
        """Whether :meth:`open` gives it."""
        try:
            self.open(file).close()
        except NoVideoError:
            return False
        return True

    def open(self, file: IndexedFile) -> BinaryIO:
        """The video, opened: what was looked at is what is read, whoever moves files meanwhile.

        Raises:
            NoVideoError: it is not there, no video, not in the folder, or not as it was.
        """
        if not self.folders or not _is_name(file.name):
            raise NoVideoError("this video is not on this machine, or this server hands out none (--videos)")
        try:
            root, place = self._place(os.fsdecode(file.name))
            opened = _open_below(root, place)
        except NotRegularError:
            raise NoVideoError("what lies in the place of this video is no file") from None
        except (OSError, ValueError):
            raise NoVideoError("this video is not where it was when it was indexed") from None
        if not _is_unchanged(os.fstat(opened.fileno()), file):
            opened.close()
            raise NoVideoError("this video has changed since it was indexed, its size or its time; index again")
        return opened

    def _place(self, name: str) -> tuple[Path, Path]:
        """The folder that the file really lies in, one of those allowed, and its name below that."""
        target = Path(os.path.realpath(self._real[0] / name, strict=True))
        root = next((folder for folder in self._real if target.is_relative_to(folder)), None)
        if root is None:
            raise NoVideoError(
                "a link leads from the folder of videos to this one; add --videos and the folder that it leads into to "
                "`vicc-ray serve`"
            )
        if not has_video_suffix(target.name):
            raise NoVideoError("what lies in the place of this video is no video")
        return root, target.relative_to(root)


def has_video_suffix(name: str) -> bool:
    """Whether a name is that of a video, as the listing of a folder has it."""
    return f".{name.rpartition('.')[2].lower()}" in SUFFIXES


def _is_name(name: bytes) -> bool:
    """Whether a name may be that of a video below a folder: one that is listed, so neither hidden nor ``..``."""
    text = os.fsdecode(name)
    hidden = text.startswith((".", "/")) or "/." in text
    return 0 < len(name) <= LONGEST_NAME and "\0" not in text and not hidden and has_video_suffix(text)


def _is_unchanged(now: os.stat_result, then: IndexedFile) -> bool:
    """A file's size and time, in seconds: copies do not all keep more of it."""
    same_time = then.mtime_ns is None or now.st_mtime_ns // 10**9 == then.mtime_ns // 10**9
    return now.st_size == then.size and same_time


def _open_below(root: Path, place: Path) -> BinaryIO:
    """A file, opened folder by folder, none of which may be a link now."""
    *folders, name = place.parts
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, flags)
    try:
        for step in folders:
            inner = os.open(step, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
        return open_regular(name, dir_fd=folder, follow=False)
    finally:
        os.close(folder)
