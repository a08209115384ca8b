"""Recursive listing of a local folder that follows links; independent of the order of the file system."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from vicc_ray.datasets.object_storage import RemotePath

SYSTEM_FOLDERS = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}
"""Folders that file systems create, often unreadable."""
_FILE_NAME = re.compile(r".+\.[A-Za-z]\w{0,7}")


@dataclass(frozen=True)
class FolderAlias:
    """Primary name of a folder that has several names because of links.

    Attributes:
        name: name under which its files are listed.
        linked: whether that name is a link too, or is below one.
    """

    name: str
    linked: bool


@dataclass(frozen=True)
class FileTree:
    """Contents of a folder by relative path, with forward slashes.

    Attributes:
        files: files that are neither hidden nor in a hidden folder; includes broken links that are named like files.
        errors: folders and links that could not be listed -> reason; "" is the folder itself.
        broken_links: other broken links, which may have been folders -> their target.
        aliases: links to folders that are listed under another name. That name is the one without links, or else the
            first in sorted order.
    """

    files: dict[str, Path | RemotePath] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    broken_links: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, FolderAlias] = field(default_factory=dict)


def escapes_folder(name: str) -> bool:
    """Whether ``name`` is a path outside the folder that it is relative to."""
    return name.startswith("/") or ".." in name.split("/") or "\0" in name


def list_tree(folder: Path) -> FileTree:
    """List a folder recursively; parts that cannot be listed are in ``errors``."""
    tree, seen = FileTree(), dict[str, FolderAlias]()
    links = [("", str(folder))]
    while links:
        name, path = heappop(links)
        real = os.path.realpath(path)
        if real in seen and _inside(os.path.realpath(Path(path).parent), real):
            continue  # a cycle
        for link in _list_real(tree, seen, name, path, real):
            heappush(links, link)
    return tree


def _list_real(tree: FileTree, seen: dict[str, FolderAlias], name: str, path: str, real: str) -> list[tuple[str, str]]:
    """Add the files of a folder and its subfolders to the tree; return the links to folders among them."""
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
    """Entries of a folder that are not hidden, in reverse order, because the last is popped from a stack first."""
    try:
        with os.scandir(path) as iterator:
            entries = sorted(iterator, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        tree.errors[name] = error.strerror or str(error)
        return []
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in SYSTEM_FOLDERS]


def _is_folder(tree: FileTree, name: str, entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one. If that is unknown, it is recorded in the tree."""
    try:
        return stat.S_ISDIR(entry.stat().st_mode) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)
    except OSError as error:
        if not any(_FILE_NAME.fullmatch(Path(path).name) for path in (entry.path, os.path.realpath(entry.path))):
            problems = tree.broken_links if isinstance(error, FileNotFoundError) else tree.errors
            problems[name] = f"a link to {_target(entry.path)}: {error.strerror}"
        return False


def _target(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return "an unknown target"


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
