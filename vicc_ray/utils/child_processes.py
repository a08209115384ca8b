"""Descendants of this process: its children, their children, and so on."""

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
    """Make this process the reaper of orphaned descendants, so that they stay its descendants. Linux only.

    When Ray is stopped during its start, its agents outlive it by minutes.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Process IDs of all descendants, parents before children; empty without /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # it has ended
            children[_parent(entry)].append(int(entry.name))
    pids, new = [], [os.getpid()]
    while new:
        new = [child for parent in new for child in children[parent]]
        pids += new
    return pids


def kill_descendants() -> None:
    """Stop all descendants, then kill them: a running one could fork a process that is missed."""
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
    """Process ID of the parent. A zombie is refused: it has ended, and only its exit status is left."""
    # The program's name is in parentheses and may contain anything, also parentheses.
    state, parent, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
    if state == b"Z":
        raise ValueError(f"{entry.name} has ended")
    return int(parent)
