"""The home folder, also for users without one: containers often run with a user ID that /etc/passwd lacks."""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
from pathlib import Path


def home() -> Path:
    """Home folder of the user, or a private temporary folder if there is none."""
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        return _private_folder(Path(tempfile.gettempdir()) / f"vicc-ray-{os.getuid()}")


def ensure_home() -> None:
    """Set a home and a user name for this process and its children: Ray and torch ask for both on import."""
    os.environ.setdefault("HOME", str(home()))
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def _private_folder(path: Path) -> Path:
    """``path``, created if missing; another new folder if ``path`` belongs to somebody else."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
        return path
    return Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
