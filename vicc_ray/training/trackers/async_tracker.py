"""Asynchronous tracker: a thread isolates training from slow or failing trackers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

MAX_QUEUED = 10_000
"""Points queued for a slow tracker; beyond that the tracker is reported as failed and further points are dropped."""
CLOSE_S = 60.0
"""Seconds that the end of a run waits for queued points."""


class Tracker(Protocol):
    """Experiment tracker: draws the metrics of a run live."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each named curve; steps of a curve increase."""

    def close(self) -> None:
        """Flush; the last call."""


class AsyncTracker:
    """Tracker fed by a thread. Errors never propagate: the first one is kept in ``failure``.

    Args:
        name: name in messages.
        create: creates the tracker, in the thread: importing a tracker and reaching its server take seconds.
    """

    def __init__(self, name: str, create: Callable[[], Tracker]) -> None:
        self.name = name
        self.failure = ""
        self._points: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(MAX_QUEUED)
        self._thread = threading.Thread(target=self._run, args=(create,), name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Queue a point; never blocks."""
        if not self.failure:
            try:
                self._points.put_nowait((step, values))
            except queue.Full:
                self._fail(f"it is {MAX_QUEUED} points behind")

    def close(self) -> None:
        """Wait for queued points, at most ``CLOSE_S`` seconds."""
        try:
            self._points.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._fail(f"it did not end within {CLOSE_S:g} s")

    def _run(self, create: Callable[[], Tracker]) -> None:
        try:
            tracker = create()
            while (point := self._points.get()) is not None:
                tracker.log(*point)
            tracker.close()
        except Exception as error:  # noqa: BLE001 - a lost curve must not cost a run
            self._fail(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or (
            f"train.trackers: {self.name} has stopped ({reason}). Training continues, and its figures are "
            "in metrics.jsonl and epochs.jsonl."
        )
