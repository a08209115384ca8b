"""Ctrl-C and SIGTERM: told at once, with some seconds to tidy up, and then the end of everything that was begun.

Python calls a signal's handler in the main thread, once that runs Python code again, and libraries put handlers of
their own in the place of ours. So the signals are heard of in a thread as well, over a pipe that C code writes to
(``signal.set_wakeup_fd``): whatever the main thread does, the process ends in time.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from vicc_ray.utils.child_processes import adopt_orphans, kill_descendants

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_PERIOD_S = 12.0
"""Seconds after a signal in which the process must have ended by itself."""
DEBOUNCE_S = 1.0
"""Seconds in which a second signal counts as the same: `timeout` and others send theirs twice, to process and group."""
RETRY_S = 0.05
STOPPING = "\nstopping; once more ends it at once"
STDERR = 2
SHOW_CURSOR = "\x1b[?25h"
RESUMABLE = frozenset(("run", "make-videos", "prepare", "pretrain", "evaluate", "classify", "sweep", "index"))
"""Verbs that go on where they were when the same command is given again."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM has come; raised in the main thread, wherever that is."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Interruption:
    """What a first signal does to this process, from :meth:`listen` on.

    Args:
        verb: what the process does, for the last line.
    """

    def __init__(self, verb: str) -> None:
        self._verb, self._raised, self._own = verb, False, 0
        self._said: set[str] = set()
        self._saying = threading.RLock()
        self._reading, self._read = threading.Lock(), threading.Event()
        self.signum = 0
        """The first signal that came."""

    def listen(self) -> None:
        """Have signals raise :class:`Interrupted` in this thread, the main one, and be told."""
        self._pipe, writing = os.pipe()
        adopt_orphans()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        sys.unraisablehook = partial(self._unraisable, sys.unraisablehook)
        threading.Thread(target=self._watch, daemon=True, name="signals").start()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for what runs in its background
                signal.signal(number, self._raise)

    @property
    def exit_code(self) -> int:
        """As a shell has it for a process that a signal ends."""
        return 128 + self.signum

    def heard(self) -> int:
        """The first signal that came, 0 without one; also one that the thread has not read yet.

        A library's handler in the place of ours may end the verb within a moment.
        """
        with self._reading:
            unread = bool(select.select([self._pipe], [], [], 0)[0])
        if unread:
            self._read.wait(GRACE_PERIOD_S)
        return self.signum

    def say_stopped(self) -> None:
        """The last line."""
        self._say("stopped; the same command continues" if self._verb in RESUMABLE else "stopped")

    def _say(self, line: str) -> None:
        """Once, whichever thread comes first."""
        with self._saying:
            if line not in self._said:
                self._said.add(line)
                tell(line)

    def let_finish(self) -> None:
        """The verb has ended: a signal from here on raises nothing, but still limits how long the process takes."""
        self._raised = True

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        self._say(STOPPING)
        if not self._raised:  # what tidies up is not to be interrupted; the thread sees to its end
            self._raised = True
            raise Interrupted(signum)

    def _unraisable(self, otherwise: Callable[[UnraisableHookArgs], object], args: UnraisableHookArgs) -> None:
        """Raise it again that was raised where nothing can be raised, such as in a weak reference's callback."""
        if not isinstance(args.exc_value, Interrupted):
            otherwise(args)
            return
        self._raised, self._own = False, self._own + 1
        main = threading.main_thread().ident
        threading.Timer(RETRY_S, signal.pthread_kill, [main, args.exc_value.signum]).start()

    def _watch(self) -> None:
        self._next_signal(None)
        begun = time.monotonic()
        self._say(STOPPING)
        while (left := begun + GRACE_PERIOD_S - time.monotonic()) > 0:
            if not self._next_signal(left):
                continue
            if self._own:
                self._own -= 1
            elif time.monotonic() - begun > DEBOUNCE_S:
                break
        self._end()

    def _next_signal(self, timeout_s: float | None) -> int:
        """The next one of :data:`SIGNALS`; 0 after ``timeout_s`` seconds, or when it was another one."""
        while True:
            if not select.select([self._pipe], [], [], timeout_s)[0]:
                return 0
            with self._reading:
                (number,) = os.read(self._pipe, 1)
                if number in SIGNALS:
                    self.signum = self.signum or int(number)
                    self._read.set()
            if number in SIGNALS:
                return int(number)
            if timeout_s is not None:
                return 0

    def _end(self) -> None:
        """End the process and all that it has begun, now."""
        kill_descendants()
        if os.isatty(STDERR):
            tell(SHOW_CURSOR, end="")
        self.say_stopped()
        os._exit(self.exit_code)


def tell(line: str, end: str = "\n") -> None:
    """A line on stderr, at once, unless that is closed or full: nothing is to wait for its reader."""
    with suppress(OSError, ValueError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, f"{line}{end}".encode())


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Put back what handles :data:`SIGNALS` at the end of a block that calls a library which replaces it.

    Also one that Python does not know of: Ray's C++ code has SIGTERM end the process with a trace of its stack.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
