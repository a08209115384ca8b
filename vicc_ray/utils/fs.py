"""Files that are whole or absent (written aside, then moved into place), and folders with one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vicc_ray.errors import UserError

LOCK_FILE = ".lock"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on error it is removed.

    It has the mode of any new file, whatever a library that writes it makes of that.

    Raises:
        OSError: the folder of ``path`` cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    mode = create(aside)
    try:
        yield aside
        aside.chmod(mode)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def create(path: Path) -> int:
    """Make an empty file that was not there; its mode, which the kernel takes from the umask and the folder.

    Nobody asks what the umask is: to read it is to change it, for all threads.

    Raises:
        OSError: it is there, or cannot be made.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def unreadable(path: Path) -> UserError | None:
    """Why a file that a library could not read cannot even be opened; None if it can, or is not there.

    For the message: a file of another user is not a damaged one.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    except OSError as error:
        advice = "; have its owner let you read it" if isinstance(error, PermissionError) else ""
        return UserError(f"{path} cannot be read: {error.strerror}{advice}")
    return None


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
    with _lock_file(folder / LOCK_FILE) as lock:
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
    with _lock_file(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock_file(path: Path) -> IO[bytes]:
    """The file of a lock, made if need be; one that is there keeps its content, and a link, which whoever made the
    folder may have put there, is not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o666), "rb", buffering=0)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UserError(f"{path} is a link, which may lead to any file; remove it") from None
