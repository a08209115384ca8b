"""Where files lie: a path of this machine, or :class:`RemotePath`; what the two have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from vicc_ray.datasets.file_tree import FileTree, escapes_folder, list_tree
from vicc_ray.datasets.object_storage import RemotePath, UnreadableFileError
from vicc_ray.errors import UserError
from vicc_ray.utils.json_file import read_bounded
from vicc_ray.utils.local_paths import is_address, local_path
from vicc_ray.utils.regular_file import open_given

Location = Path | RemotePath
MAX_LIST_BYTES = 2**30
"""Bytes of a list of videos; one of ten million has less."""


def location_of(address: Path | str) -> Location:
    """The place that a user means by a path or an address.

    Raises:
        UserError: it is nearly an address, or in a home folder that nobody knows.
    """
    return RemotePath(address) if isinstance(address, str) and is_address(address) else local_path(address).absolute()


def below(folder: Location, name: str) -> Location:
    """The place ``name`` in a folder."""
    return folder / name if isinstance(folder, Path) else folder.below(name)


def as_json(location: Location) -> Any:
    """What :func:`from_json` makes the same place of, in another process."""
    return str(location) if isinstance(location, Path) else astuple(location)


def from_json(content: Any) -> Location:
    """See :func:`as_json`."""
    return Path(content) if isinstance(content, str) else RemotePath(*content)


def size_and_mtime(location: Location) -> tuple[int, int] | None:
    """Size and time of change (in ns) of a file, by which a changed file is known; None where no file is.

    Of a remote file they are as listed: asking again for each of many files would take hours.
    """
    if isinstance(location, RemotePath):
        return None if location.size is None else (location.size, location.mtime_ns)
    try:
        status = location.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def list_files(folder: Location) -> FileTree:
    """Every file below a folder, by name below it, with forward slashes; what is hidden on this machine left out.

    Raises:
        UserError: no such folder, or it cannot be reached.
    """
    if isinstance(folder, RemotePath):
        files = {file.name.removeprefix(f"{folder.name}/"): file for file in folder.files(recursive=True)}
        outside = {name: "a name that leads out of its folder" for name in files if escapes_folder(name)}
        return FileTree({name: file for name, file in files.items() if name not in outside}, broken_links=outside)
    with _told(folder):
        if not folder.is_dir():
            what = "that is a file" if folder.exists() else "nothing there"
            raise UserError(f"no folder of videos at {folder}: {what}")
    tree = list_tree(folder)
    if "" in tree.errors:
        raise UserError(f"{folder} cannot be read: {tree.errors['']}")
    return tree


def files_in(location: Location) -> list[str] | None:
    """Sorted names of the files directly in a folder; None for a place that is no folder.

    Raises:
        UserError: it cannot be reached or read.
    """
    if isinstance(location, Path):
        with _told(location):
            return sorted(file.name for file in location.iterdir() if file.is_file()) if location.is_dir() else None
    if not location.is_folder():
        return None
    return sorted(file.name.rpartition("/")[2] for file in location.files(recursive=False))


def read(location: Location) -> bytes:
    """The content of a small file.

    Raises:
        UserError: it is not there, is no file or larger than :data:`MAX_LIST_BYTES`, or cannot be read.
    """
    if isinstance(location, RemotePath):
        return location.read()
    try:
        with _told(location):
            return read_bounded(location, MAX_LIST_BYTES, open_given)
    except ValueError as error:
        raise UserError(f"{location} cannot be read: {error}; give a smaller one") from None


@contextmanager
def local_file(location: Location) -> Iterator[Path]:
    """The file on this machine: itself, or a copy that is removed when the block ends.

    Raises:
        Unreadable: a remote file cannot be had, or this is no file (a named pipe would be waited for).
    """
    if isinstance(location, Path):
        if location.exists() and not location.is_file():
            raise UnreadableFileError("no file, but a folder, a named pipe or a device")
        yield location
        return
    if location.size is None:  # no listing had it
        raise UnreadableFileError("no such file")
    with tempfile.NamedTemporaryFile(prefix="vicc-ray-") as copy:
        location.fetch(copy)
        yield Path(copy.name)


@contextmanager
def _told(location: Path) -> Iterator[None]:
    """Turn the file system's errors into the user's."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{location} cannot be read: {error.strerror}") from None
