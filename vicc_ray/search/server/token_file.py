"""Access token of the server: random, or stored in a file that only its owner can read."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from vicc_ray.errors import UserError

TOKEN = re.compile(r"[\w.~-]{32,512}", re.ASCII)
"""URL- and header-safe token; 32 hexadecimal digits are 128 bits."""


def new_token() -> str:
    """Random token."""
    return secrets.token_urlsafe(32)


def stored_token(path: Path) -> str:
    """Token of a file, which is created if it is missing.

    Raises:
        UserError: other accounts can read the file or own it, or its content is not a token.
    """
    try:
        _create(path)
        return _read(path)
    except OSError as error:
        raise UserError(f"--token-file {path}: {error.strerror}; it must be in an existing folder of yours") from None


def _create(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(new_token() + "\n")


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"--token-file {path}: not a file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise UserError(
                f"--token-file {path}: its mode is {mode:04o}, so other accounts may have read it; put another token "
                "into it after `chmod 600`, or remove it to create a new one"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise UserError(f"--token-file {path}: it belongs to another account, which knows the token; use your own")
        text = file.read(1024).decode("latin-1").strip()
    if not TOKEN.fullmatch(text):
        raise UserError(
            f"--token-file {path}: not a token (one line of 32 to 512 letters, digits, - . _ ~); "
            "remove the file to create a new one"
        )
    return text
