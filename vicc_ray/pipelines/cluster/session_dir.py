"""Session folder of a local Ray: private to this account, and removed when the session ends.

Ray keeps sockets, logs and spilled objects there. By default all accounts share one folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.log import LOG

PREFIX = "vicc-"
OWN_NAME = re.compile(rf"{PREFIX}\w{{8}}")
"""Names that :func:`tempfile.mkdtemp` makes of the prefix."""
LOCK = ".ray-lock"
"""Lock file of a session folder; other than that of stores and runs, since a folder with it may be removed."""
SOCKET_BYTES = 107
"""Longest path of a Unix socket."""
RAY_SUFFIX_BYTES = len(f"/{PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Bytes that Ray appends to the parent folder."""
NEEDED_MB = 100
"""MiB of disk for Ray's logs of a long run."""
OPEN_TO_ALL = "is below a folder where every account can rename the files of others (chmod o-w, or +t)"
ELSEWHERE = (Path("/tmp"), Path("/var/tmp"))
REMOVE_TIMEOUT_S = 3.0
"""Seconds until Ray's processes have ended after a shutdown; until then they may write to the folder."""


class SessionDir:
    """Session folder, locked by this process until it is removed."""

    def __init__(self, parent: Path) -> None:
        _remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # of mode 0700
        self.inner = self.path / "r"
        """Folder for Ray, which makes it readable for all; the private parent keeps others out."""
        self._lock = (self.path / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder with its content."""
        end = time.monotonic() + REMOVE_TIMEOUT_S
        while self.path.exists() and time.monotonic() < end:
            shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Keep the folder for inspection, until the next session starts."""
        self._lock.close()


@contextmanager
def session_dir(more_mb: int = 0) -> Iterator[SessionDir]:
    """Create it below ``RAY_TMPDIR`` or ``TMPDIR``; where that is impossible, elsewhere with a warning.

    Args:
        more_mb: MiB of disk beyond those for Ray's logs.

    Raises:
        UserError: no folder is suitable.
    """
    folder = SessionDir(_parent(NEEDED_MB + more_mb))
    try:
        yield folder
    finally:
        if not folder._lock.closed:
            folder.remove()


def _parent(needed_mb: int) -> Path:
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), None)
    wanted = [Path(os.environ[name])] if name else []
    problems: dict[Path, str] = {}
    for folder in [*wanted, *ELSEWHERE]:
        if problem := _problem(folder, needed_mb):
            problems[folder] = problem
            continue
        if wanted and folder != wanted[0]:
            LOG.warning("%s: %s %s; Ray's files are in %s instead", name, wanted[0], problems[wanted[0]], folder)
        return folder
    for folder, problem in problems.items():
        if problem == OPEN_TO_ALL:  # as in a pod, which has no other accounts
            LOG.warning("Ray's files are in %s, which %s", folder, problem)
            return folder
    reasons = "; ".join(f"{folder} {problem}" for folder, problem in problems.items())
    raise UserError(f"no folder for Ray's files: {reasons}. Set TMPDIR to a short path that you own, with free disk")


def _problem(folder: Path, needed_mb: int) -> str:
    """Why a folder is not suitable, "" if it is."""
    most = SOCKET_BYTES - RAY_SUFFIX_BYTES
    if len(os.fsencode(folder.absolute())) > most:
        return f"is too long for a socket (at most {most} bytes)"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder):
            free = shutil.disk_usage(folder).free // 2**20
        is_open = any(_is_writable_for_all(above) for above in (folder.resolve(), *folder.resolve().parents))
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    if free < needed_mb:
        return f"has {free} MiB free of the {needed_mb} that Ray needs"
    return OPEN_TO_ALL if is_open else ""


def _is_writable_for_all(folder: Path) -> bool:
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _remove_abandoned(parent: Path) -> None:
    """Remove folders of processes that were killed, or whose Ray did not start."""
    for old in parent.glob(f"{PREFIX}*"):
        # Folders of other accounts are not opened: a pipe as their lock file would block forever.
        if not (OWN_NAME.fullmatch(old.name) and _is_own_folder(old)):
            continue
        with suppress(OSError), (old / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    with suppress(FileNotFoundError):
        status = path.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return False
