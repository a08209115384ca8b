"""Checkpoints in the background: a step waits for the copy of the state, not for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from vicc_ray.runs.checkpoint_manager import CheckpointManager
from vicc_ray.runs.checkpoint_state import Snapshot

CheckpointRecord = dict[str, float | int | str]


class AsyncCheckpointer:
    """Writes one checkpoint at a time, in a thread; the next one waits for the one before.

    Args:
        written: is told of each, in that thread: step, name, why, mb, copy_ms (what training waited for), write_ms.
    """

    def __init__(self, folder: CheckpointManager, keep: int, written: Callable[[CheckpointRecord], None]) -> None:
        self._folder, self._keep, self._written = folder, keep, written
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, take: Callable[[], Snapshot], name: str, why: str, pending_validation: bool = False) -> None:
        """Copy the state and write it as the checkpoint ``name``; returns before it is on the disk.

        Args:
            to_be_scored: see :meth:`CheckpointManager.commit`.

        Raises:
            OSError: the one before could not be written.
        """
        begun = time.perf_counter()
        self.wait()
        snapshot = take()
        copied_ms = 1000 * (time.perf_counter() - begun)
        self._writing = self._thread.submit(self._write, snapshot, name, why, pending_validation, copied_ms)

    def wait(self) -> None:
        """Until what was saved is on the disk.

        Raises:
            OSError: it could not be written.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, snapshot: Snapshot, name: str, why: str, pending_validation: bool, copied_ms: float) -> None:
        begun = time.perf_counter()
        with self._folder.commit(name, pending_validation) as tmp:
            snapshot.write(tmp)
        self._folder.prune(self._keep)
        self._written(
            {
                **{"step": snapshot.step, "name": name, "why": why, "mb": round(snapshot.size / 1e6, 3)},
                **{"copy_ms": round(copied_ms, 2), "write_ms": round(1000 * (time.perf_counter() - begun), 2)},
            }
        )
