"""A home for a user who has none, as in containers that run with a number that no list of users knows."""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
from pathlib import Path


def home() -> Path:
    """The user's home, or a folder for temporary files that is the user's alone."""
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return _private_folder(Path(tempfile.gettempdir()) / f"vicc-ray-{os.getuid()}")


def ensure_home() -> None:
    """Have this process and those that it begins find a home and a name: Ray and torch ask for them when imported."""
    os.environ.setdefault("HOME", str(home()))
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def _private_folder(path: Path) -> Path:
    """``path``, made if need be; another one where somebody else has made it, as anyone may in such a place."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return path
    return Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
