"""Files that somebody else may have put there: a named pipe must not block, a device must not be read without end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """What lies there is no file with a content of its own: a folder, a named pipe, a device, a socket."""


def open_regular(path: Path | str, *, dir_fd: int | None = None, follow: bool = True) -> BinaryIO:
    """A file, opened for reading; what is known of it is to be asked of the descriptor, which nobody can exchange.

    Args:
        dir_fd: descriptor of the folder that a relative ``path`` starts from.
        follow: whether it may be a link.

    Raises:
        NotRegularError: it is no regular file.
        OSError: it is not there, cannot be read, or is a link without ``follow``.
    """
    _check(os.stat(path, dir_fd=dir_fd, follow_symlinks=follow), path)  # some devices act when they are opened
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        _check(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_given(path: Path) -> BinaryIO:
    """A file that the user named: as :func:`open_regular`, or what a shell gives in the place of one, a pipe in /dev.

    Raises:
        OSError: as of :func:`open_regular`.
    """
    return path.open("rb") if str(path).startswith("/dev/") else open_regular(path)


def _check(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(0, "not a regular file", str(path))
