"""A tracker in a thread of its own: whatever it does or does not do, training goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

WAITING = 10_000
"""Points that may wait for a slow tracker; more than that are dropped, and that is said."""
CLOSE_S = 60.0
"""Seconds that the end of a run waits for what is still to be written."""


class Tracker(Protocol):
    """Where the figures of a run are drawn while it goes on."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each named curve; steps of a curve grow."""

    def close(self) -> None:
        """Write what is still to be written; the last call."""


class Background:
    """Opens and feeds a tracker in its thread. No error leaves it: the first is kept in ``failure``, for the record.

    Args:
        name: what to call it in messages.
        open_it: makes the tracker; called in the thread, since importing one and reaching its server take seconds.
    """

    def __init__(self, name: str, open_it: Callable[[], Tracker]) -> None:
        self.name = name
        self.failure = ""
        self._points: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, args=(open_it,), name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand a point over; never waits."""
        if not self.failure:
            try:
                self._points.put_nowait((step, values))
            except queue.Full:
                self._fail(f"it is {WAITING} points behind")

    def close(self) -> None:
        """Wait for what is still to be written, at most ``CLOSE_S`` seconds."""
        try:
            self._points.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._fail(f"it did not end within {CLOSE_S:g} s")

    def _run(self, open_it: Callable[[], Tracker]) -> None:
        try:
            tracker = open_it()
            while (point := self._points.get()) is not None:
                tracker.log(*point)
            tracker.close()
        except Exception as error:  # noqa: BLE001 - a lost curve must not cost a run
            self._fail(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or (
            f"train.trackers: {self.name} has stopped ({reason}). Training goes on, and its figures are in "
            "metrics.jsonl and epochs.jsonl."
        )
