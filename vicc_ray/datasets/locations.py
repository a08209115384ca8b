"""Location of a file or folder: a local path or a :class:`RemotePath`, and the operations on both."""

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
"""Bytes allowed for a list of videos; one of ten million videos has fewer."""


def location_of(address: Path | str) -> Location:
    """Location of a path or an address.

    Raises:
        UserError: the address is malformed, or the path is in an unknown home folder.
    """
    return RemotePath(address) if isinstance(address, str) and is_address(address) else local_path(address).absolute()


def below(folder: Location, name: str) -> Location:
    """Location of ``name`` in a folder."""
    return folder / name if isinstance(folder, Path) else folder.below(name)


def as_json(location: Location) -> Any:
    """JSON form of a location, for :func:`from_json` in another process."""
    return str(location) if isinstance(location, Path) else astuple(location)


def from_json(content: Any) -> Location:
    """Location of its JSON form (:func:`as_json`)."""
    return Path(content) if isinstance(content, str) else RemotePath(*content)


def size_and_mtime(location: Location) -> tuple[int, int] | None:
    """Size in bytes and mtime in ns of a file; None if there is no file.

    For a remote file they are those of its listing: a request for each of many files would take hours.
    """
    if isinstance(location, RemotePath):
        return None if location.size is None else (location.size, location.mtime_ns)
    try:
        status = location.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def list_files(folder: Location) -> FileTree:
    """List a folder recursively; hidden local files are left out.

    Raises:
        UserError: the folder does not exist, or cannot be read.
    """
    if isinstance(folder, RemotePath):
        files = {file.name.removeprefix(f"{folder.name}/"): file for file in folder.files(recursive=True)}
        outside = {name: "a path outside its folder" for name in files if escapes_folder(name)}
        return FileTree({name: file for name, file in files.items() if name not in outside}, broken_links=outside)
    with _user_errors(folder):
        if not folder.is_dir():
            problem = "it is a file" if folder.exists() else "it does not exist"
            raise UserError(f"{folder} is not a folder of videos: {problem}")
    tree = list_tree(folder)
    if "" in tree.errors:
        raise UserError(f"{folder} cannot be read: {tree.errors['']}")
    return tree


def files_in(location: Location) -> list[str] | None:
    """Sorted names of the files directly in a folder; None if the location is not a folder.

    Raises:
        UserError: the location cannot be read.
    """
    if isinstance(location, Path):
        with _user_errors(location):
            return sorted(file.name for file in location.iterdir() if file.is_file()) if location.is_dir() else None
    if not location.is_folder():
        return None
    return sorted(file.name.rpartition("/")[2] for file in location.files(recursive=False))


def read(location: Location) -> bytes:
    """Content of a small file.

    Raises:
        UserError: it does not exist, is not a file, is larger than :data:`MAX_LIST_BYTES`, or cannot be read.
    """
    if isinstance(location, RemotePath):
        return location.read()
    try:
        with _user_errors(location):
            return read_bounded(location, MAX_LIST_BYTES, open_given)
    except ValueError as error:
        raise UserError(f"{location} cannot be read: {error}; use a smaller one") from None


@contextmanager
def local_file(location: Location) -> Iterator[Path]:
    """Local path of a file; a remote file is downloaded, and the copy is removed when the block ends.

    Raises:
        UnreadableFileError: a remote file cannot be downloaded, or a local one is not a regular file (opening a named
            pipe would block).
    """
    if isinstance(location, Path):
        if location.exists() and not location.is_file():
            raise UnreadableFileError("not a regular file, but a folder, a named pipe or a device")
        yield location
        return
    if location.size is None:  # it was in no listing
        raise UnreadableFileError("no such file")
    with tempfile.NamedTemporaryFile(prefix="vicc-ray-") as copy:
        location.download(copy)
        yield Path(copy.name)


@contextmanager
def _user_errors(location: Path) -> Iterator[None]:
    """Convert errors of the file system to UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{location} cannot be read: {error.strerror}") from None
