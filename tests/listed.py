"""Folders of placeholder videos and of lists, for tests of file listings and annotations."""

from __future__ import annotations

from pathlib import Path


def touch(folder: Path, *names: str) -> Path:
    """Write files of one byte."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def write_lists(folder: Path, lists: dict[str, str]) -> Path:
    """Write text files, given by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (folder / name).write_text(text)
    return folder
