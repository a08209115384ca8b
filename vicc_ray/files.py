"""Files that are whole or absent (written aside, then moved into place), and folders with one writer at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".lock"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on error it is removed.

    Raises:
        OSError: the folder of ``path`` cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def clear_asides(folder: Path, names: Iterable[str]) -> None:
    """Remove what :func:`atomic_path` left aside of these files in a process that was killed.

    For whoever knows that nobody writes them now, as the holder of the :func:`folder_lock` does.
    """
    for name in names:
        own = re.compile(rf"\.{re.escape(name)}\.[^.]+\.part")  # not of a file whose name goes on
        for aside in folder.glob(".*.part"):
            if own.fullmatch(aside.name):
                aside.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8) to ``path`` so that a reader never sees a part of it."""
    with atomic_path(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


def content_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 128 bits as 32 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def folder_lock(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Keep other processes that ask for the same lock out of ``folder``; it ends with the process, however that ends.

    Raises:
        BlockingIOError: another process still holds the lock after ``wait_s`` seconds.
        OSError: the folder cannot be written.
    """
    deadline = time.monotonic() + wait_s
    with (folder / LOCK_FILE).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)
        yield


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block with the same ``path``; an empty file stays there."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
