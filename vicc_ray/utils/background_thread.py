"""A thread that runs for the duration of a block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def background_thread(work: Callable[[threading.Event], object]) -> Iterator[None]:
    """Run ``work`` in a thread while the block runs.

    Args:
        work: must return soon after its event is set, at the end of the block; it is joined.
    """
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
