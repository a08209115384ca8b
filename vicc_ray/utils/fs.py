"""Atomic writes (to a temporary file, then renamed), and folder locks."""

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
    """Yield a temporary path next to ``path``; on success it replaces ``path``, on error it is removed.

    The file gets the default mode of new files, even if a library that writes it changes the mode.

    Raises:
        OSError: the folder of ``path`` cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    mode = create(tmp)
    try:
        yield tmp
        tmp.chmod(mode)
        tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)


def create(path: Path) -> int:
    """Create an empty file and return its mode, which the kernel derives from the umask and the folder.

    Reading the umask itself would change it for all threads for a moment.

    Raises:
        OSError: the file exists, or cannot be created.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def unreadable(path: Path) -> UserError | None:
    """Error that names why a file cannot be opened; None if it can be opened or does not exist.

    For files that a library failed to read: missing permissions are not damage.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    except OSError as error:
        advice = "; have its owner let you read it" if isinstance(error, PermissionError) else ""
        return UserError(f"{path} cannot be read: {error.strerror}{advice}")
    return None


def remove_partials(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files of :func:`atomic_path` that killed processes left behind.

    The caller must make sure that nobody writes these files now, for example by holding the :func:`folder_lock`.
    """
    for name in names:
        pattern = re.compile(rf"\.{re.escape(name)}\.[^.]+\.part")  # a longer name is another file
        for tmp in folder.glob(".*.part"):
            if pattern.fullmatch(tmp.name):
                tmp.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8) to ``path``; a reader sees all of it or the file before."""
    with atomic_path(path) as tmp:
        tmp.write_bytes(content.encode() if isinstance(content, str) else content)


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
    """Exclusive lock on ``folder``. The kernel releases it when the process ends, however it ends.

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
    """Exclusive lock on the file ``path``; waits for it. The empty file is left there."""
    with _lock_file(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock_file(path: Path) -> IO[bytes]:
    """Lock file, created if missing. An existing one keeps its content. A link is refused: the owner of the folder
    could point it at any file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o666), "rb", buffering=0)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UserError(f"{path} is a symbolic link, which is not followed; remove it") from None
