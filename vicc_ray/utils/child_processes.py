"""The processes that this one has begun, and those that they have begun."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Be the parent of what a process that this one began leaves behind when it ends, so that it is a descendant still.

    Agents of a Ray that is stopped while it starts outlive it by minutes. Does nothing where there is no Linux.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Their process numbers, parents before children; none where there is no /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # it has ended
            children[_parent(entry)].append(int(entry.name))
    found, new = [], [os.getpid()]
    while new:
        new = [child for parent in new for child in children[parent]]
        found += new
    return found


def kill_descendants() -> None:
    """SIGKILL for all of them, once all are stopped: one that begins another meanwhile would leave it behind."""
    stopped: list[int] = []
    while new := [pid for pid in descendants() if pid not in stopped]:
        _send(new, signal.SIGSTOP)
        stopped += new
    _send(stopped, signal.SIGKILL)


def _send(pids: list[int], signum: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def _parent(entry: Path) -> int:
    """Of a process that has not ended: of one that has, only its parent's knowledge of it is left."""
    # The name of the program is in brackets and may hold anything; what follows does not.
    state, parent, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
    if state == b"Z":
        raise ValueError(f"{entry.name} has ended")
    return int(parent)
