"""Ctrl-C in processes that tests begin."""

from __future__ import annotations

import sys
from collections.abc import Sequence

TAKING_INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def taking_interrupts(command: Sequence[str]) -> list[str]:
    """The command so that it is interrupted also where the tests run in the background, whose shell ignores Ctrl-C.

    Not by a function that the child calls (``preexec_fn``): Python forks for that, with all that is in this process.
    After a network had been exported here and such a fork, a call of Ray's did not return, three times of three.
    """
    return [sys.executable, "-c", TAKING_INTERRUPTS, *command]
