"""Access to the video files of an index: opens only files that are unchanged since indexing, and no others.

The file names come from the index, which is untrusted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vicc_ray.datasets.file_listing import SUFFIXES
from vicc_ray.utils.regular_file import NotRegularError, open_regular

LONGEST_NAME = 4096
"""Most bytes of a path; no operating system opens longer ones."""
UNKNOWN = (-1, -1)
"""Size and mtime if neither is known; matches no file."""


class NoVideoError(Exception):
    """The video file is not available; the message is for the user."""


@dataclass(frozen=True)
class IndexedFile:
    """Identity of a video file at the time of indexing.

    Attributes:
        name: path below the video folder.
        size: in bytes.
        mtime_ns: modification time; None for a remote file, of which only the size is compared.
    """

    name: bytes
    size: int
    mtime_ns: int | None


class VideoFolder:
    """Local folder of video files.

    Args:
        folders: the video folder, then other folders that links in it may point into; none: no videos.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self._real = [Path(os.path.realpath(folder)) for folder in folders]

    def has(self, file: IndexedFile) -> bool:
        """Whether :meth:`open` succeeds."""
        try:
            self.open(file).close()
        except NoVideoError:
            return False
        return True

    def open(self, file: IndexedFile) -> BinaryIO:
        """Opened video file. Checks use the descriptor, so a file that is swapped meanwhile cannot slip through.

        Raises:
            NoVideoError: the file is missing, not a video, outside the allowed folders, or changed.
        """
        if not self.folders or not _is_name(file.name):
            raise NoVideoError("this video is not on this machine, or this server plays no videos (--videos)")
        try:
            root, place = self._place(os.fsdecode(file.name))
            opened = _open_below(root, place)
        except NotRegularError:
            raise NoVideoError("the path of this video is not a regular file") from None
        except (OSError, ValueError):
            raise NoVideoError("this video is missing from the folder in which it was indexed") from None
        if not _is_unchanged(os.fstat(opened.fileno()), file):
            opened.close()
            raise NoVideoError("the size or mtime of this video has changed since it was indexed; index it again")
        return opened

    def _place(self, name: str) -> tuple[Path, Path]:
        """Allowed folder that contains the resolved file, and the path below it."""
        target = Path(os.path.realpath(self._real[0] / name, strict=True))
        root = next((folder for folder in self._real if target.is_relative_to(folder)), None)
        if root is None:
            raise NoVideoError(
                "this video is a link to a file outside the video folder; add --videos with the target folder to "
                "`vicc-ray serve`"
            )
        if not has_video_suffix(target.name):
            raise NoVideoError("the path of this video is not that of a video file")
        return root, target.relative_to(root)


def has_video_suffix(name: str) -> bool:
    """Whether a file name has the suffix of a video."""
    return f".{name.rpartition('.')[2].lower()}" in SUFFIXES


def _is_name(name: bytes) -> bool:
    """Whether a name is a valid relative video path: not absolute, not hidden, without ``..``."""
    text = os.fsdecode(name)
    hidden = text.startswith((".", "/")) or "/." in text
    return 0 < len(name) <= LONGEST_NAME and "\0" not in text and not hidden and has_video_suffix(text)


def _is_unchanged(now: os.stat_result, then: IndexedFile) -> bool:
    """Whether size and mtime match; mtime in whole seconds, because some copies lose the fraction."""
    same_time = then.mtime_ns is None or now.st_mtime_ns // 10**9 == then.mtime_ns // 10**9
    return now.st_size == then.size and same_time


def _open_below(root: Path, place: Path) -> BinaryIO:
    """File opened folder by folder, refusing links at every step."""
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
