"""Asynchronous checkpointing: training waits for the copy of its state, not for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from vicc_ray.runs.checkpoint_manager import CheckpointManager
from vicc_ray.runs.checkpoint_state import Snapshot

CheckpointRecord = dict[str, float | int | str]
"""A line of checkpoints.jsonl: step, name, why, mb, copy_ms (time that training waited), write_ms."""


class AsyncCheckpointer:
    """Background writer of checkpoints, one at a time: a save waits for the save before it.

    Args:
        keep: step checkpoints that pruning leaves.
        on_written: called in the writer thread after each checkpoint.
    """

    def __init__(self, manager: CheckpointManager, keep: int, on_written: Callable[[CheckpointRecord], None]) -> None:
        self._manager, self._keep, self._on_written = manager, keep, on_written
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, take: Callable[[], Snapshot], name: str, why: str, pending_validation: bool = False) -> None:
        """Copy the state and write it as the checkpoint ``name``; returns before it is on disk.

        Args:
            pending_validation: see :meth:`CheckpointManager.commit`.

        Raises:
            OSError: the checkpoint before it could not be written.
        """
        start = time.perf_counter()
        self.wait()
        snapshot = take()
        copied_ms = 1000 * (time.perf_counter() - start)
        self._writing = self._thread.submit(self._write, snapshot, name, why, pending_validation, copied_ms)

    def wait(self) -> None:
        """Block until the last save is on disk.

        Raises:
            OSError: it could not be written.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, snapshot: Snapshot, name: str, why: str, pending_validation: bool, copied_ms: float) -> None:
        start = time.perf_counter()
        with self._manager.commit(name, pending_validation) as tmp:
            snapshot.write(tmp)
        self._manager.prune(self._keep)
        self._on_written(
            {
                **{"step": snapshot.step, "name": name, "why": why, "mb": round(snapshot.size / 1e6, 3)},
                **{"copy_ms": round(copied_ms, 2), "write_ms": round(1000 * (time.perf_counter() - start), 2)},
            }
        )
