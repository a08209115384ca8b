"""A folder of its own for each Ray that is started here, which nobody else can look into and which goes at its end.

Ray keeps its sockets, its logs and what its object store cannot hold there; by default all users share one folder.
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
"""How :func:`tempfile.mkdtemp` makes a name of it."""
LOCK = ".ray-lock"
"""Another name than that of the lock in stores, indexes and runs: a folder with it may be removed."""
SOCKET_BYTES = 107
"""The path of a socket may have so many."""
RAY_SUFFIX_BYTES = len(f"/{PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Bytes that Ray adds to the folder that the user gives."""
NEEDED_MB = 100
"""MiB of disk that Ray's logs take in a long run."""
OPEN_TO_ALL = "is below a folder where every account may rename what is another's (chmod o-w, or +t)"
ELSEWHERE = (Path("/tmp"), Path("/var/tmp"))
REMOVE_TIMEOUT_S = 3.0
"""Seconds in which Ray's processes have ended after their Ray: until then they may write here."""


class SessionDir:
    """The folder, held by this process until it is removed."""

    def __init__(self, parent: Path) -> None:
        _remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # of mode 0700
        self.inner = self.path / "r"
        """What Ray is given: it opens its folder to all users."""
        self._lock = (self.path / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """With all that is in it."""
        end = time.monotonic() + REMOVE_TIMEOUT_S
        while self.path.exists() and time.monotonic() < end:
            shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Keep it, to be looked at, until the next Ray is started here."""
        self._lock.close()


@contextmanager
def session_dir(more_mb: int = 0) -> Iterator[SessionDir]:
    """Make it where ``RAY_TMPDIR``, or else ``TMPDIR``, says; elsewhere, and said so, if it cannot be there.

    Args:
        more_mb: MiB of disk that are needed beside what Ray's logs take.

    Raises:
        UserError: there is no place for it.
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
        if problem == OPEN_TO_ALL:  # as the folder for temporary files is in a pod, where nobody else is
            LOG.warning("Ray's files are in %s, which %s", folder, problem)
            return folder
    told = "; ".join(f"{folder} {problem}" for folder, problem in problems.items())
    raise UserError(f"no folder for Ray's files: {told}. Set TMPDIR to a short path that is yours, with free disk")


def _problem(folder: Path, needed_mb: int) -> str:
    """Why Ray's files cannot be there, "" if they can."""
    most = SOCKET_BYTES - RAY_SUFFIX_BYTES
    if len(os.fsencode(folder.absolute())) > most:
        return f"is too long for a socket (at most {most} bytes)"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder):
            free = shutil.disk_usage(folder).free // 2**20
        is_open = any(_is_everybodys(above) for above in (folder.resolve(), *folder.resolve().parents))
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    if free < needed_mb:
        return f"has {free} MiB free of the {needed_mb} that Ray needs"
    return OPEN_TO_ALL if is_open else ""


def _is_everybodys(folder: Path) -> bool:
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _remove_abandoned(parent: Path) -> None:
    """Folders of processes that were killed, or whose Ray did not start."""
    for old in parent.glob(f"{PREFIX}*"):
        # What is another's is not even opened: a pipe in the place of the lock would make this wait for ever.
        if not (OWN_NAME.fullmatch(old.name) and _is_own_folder(old)):
            continue
        with suppress(OSError), (old / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    with suppress(FileNotFoundError):
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False
