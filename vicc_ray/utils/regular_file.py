"""Opening of untrusted files: a named pipe must not block, and a device must not be read forever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """The path is a folder, a named pipe, a device or a socket."""


def open_regular(path: Path | str, *, dir_fd: int | None = None, follow: bool = True) -> BinaryIO:
    """Regular file, opened for reading. Ask the descriptor for its status: the path may change meanwhile.

    Args:
        dir_fd: descriptor of the folder that a relative ``path`` refers to.
        follow: whether links are followed.

    Raises:
        NotRegularError: the path is not a regular file.
        OSError: the file is missing or cannot be read, or is a link and ``follow`` is False.
    """
    _check(os.stat(path, dir_fd=dir_fd, follow_symlinks=follow), path)  # opening some devices has effects
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        _check(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_given(path: Path) -> BinaryIO:
    """File that the user named: a regular one, or a pipe in /dev from a shell's process substitution.

    Raises:
        OSError: as :func:`open_regular`.
    """
    return path.open("rb") if str(path).startswith("/dev/") else open_regular(path)


def _check(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(0, "not a regular file", str(path))
