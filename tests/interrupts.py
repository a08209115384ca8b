"""Ctrl-C in processes that tests begin."""

from __future__ import annotations

import signal


def take_interrupts() -> None:
    """In the child: where the tests run in the background, their shell has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
