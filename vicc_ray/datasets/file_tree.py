"""Every file below a folder of this machine, links followed: the same list whatever order the file system has."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from vicc_ray.datasets.object_storage import RemotePath

SYSTEM_FOLDERS = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}
"""Made by file systems, and often unreadable."""
_FILE_NAME = re.compile(r".+\.[A-Za-z]\w{0,7}")


@dataclass(frozen=True)
class FolderAlias:
    """A folder that has a second name.

    Attributes:
        name: the name under which its files are listed.
        linked: whether that name is a link too, or lies below one.
    """

    name: str
    linked: bool


@dataclass(frozen=True)
class FileTree:
    """What lies below a folder, by name below it, with forward slashes.

    Attributes:
        files: no hidden ones, and none of hidden folders; also links to nothing, if they are named like files.
        errors: folders and links that could not be listed, and why; "" is the folder itself.
        dead: links to nothing that may have been folders, and where they lead.
        again: links to folders that are listed under another name. A name without links in it comes first, then the
            first in the order of names.
    """

    files: dict[str, Path | RemotePath] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    broken_links: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, FolderAlias] = field(default_factory=dict)


def escapes_folder(name: str) -> bool:
    """Whether a name is no path below the folder that it is to be in."""
    return name.startswith("/") or ".." in name.split("/") or "\0" in name


def list_tree(folder: Path) -> FileTree:
    """The tree of a folder; what cannot be listed is among its errors."""
    tree, seen = FileTree(), dict[str, FolderAlias]()
    links = [("", str(folder))]
    while links:
        name, path = heappop(links)
        real = os.path.realpath(path)
        if real in seen and _inside(os.path.realpath(Path(path).parent), real):
            continue  # a circle: it has no second name for anything but itself
        for link in _list_real(tree, seen, name, path, real):
            heappush(links, link)
    return tree


def _list_real(tree: FileTree, seen: dict[str, FolderAlias], name: str, path: str, real: str) -> list[tuple[str, str]]:
    """Add the files of a folder and of those in it; the links to folders that are met on the way."""
    links: list[tuple[str, str]] = []
    todo = [(name, path, real)]
    linked = bool(seen)
    while todo:
        name, path, real = todo.pop()
        if real in seen:
            tree.aliases[name] = seen[real]
            continue
        seen[real] = FolderAlias(name, linked)
        for entry in _entries(tree, name, path):
            inner = f"{name}/{entry.name}" if name else entry.name
            if not _is_folder(tree, inner, entry):
                if inner not in tree.errors and inner not in tree.broken_links:
                    tree.files[inner] = Path(entry.path)
            elif entry.is_symlink():
                links.append((inner, entry.path))
            else:
                todo.append((inner, entry.path, f"{real.rstrip('/')}/{entry.name}"))
    return links


def _entries(tree: FileTree, name: str, path: str) -> list[os.DirEntry[str]]:
    """What lies in a folder and may hold or be a video, in reverse order: the last is taken from a stack first."""
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        tree.errors[name] = error.strerror or str(error)
        return []
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in SYSTEM_FOLDERS]


def _is_folder(tree: FileTree, name: str, entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; what cannot be known, and may be one, is noted in the tree."""
    try:
        return stat.S_ISDIR(entry.stat().st_mode) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)
    except OSError as error:
        if not any(_FILE_NAME.fullmatch(Path(path).name) for path in (entry.path, os.path.realpath(entry.path))):
            found = tree.broken_links if isinstance(error, FileNotFoundError) else tree.errors
            found[name] = f"a link to {_target(entry.path)}: {error.strerror}"
        return False


def _target(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return "somewhere"


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
