"""Handling of Ctrl-C and SIGTERM: a message at once, a grace period to clean up, then the end of all child processes.

Python runs signal handlers in the main thread, once that executes Python code again, and libraries replace handlers. A
thread therefore also receives the signals through a pipe that C code writes to (``signal.set_wakeup_fd``). The process
ends in time whatever the main thread does.
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
"""Seconds that the process has to end by itself after a signal."""
DEBOUNCE_S = 1.0
"""Seconds in which a second signal counts as the same one: `timeout` sends its signal to process and group."""
RETRY_S = 0.05
STOPPING = "\nstopping; once more ends it at once"
STDERR = 2
SHOW_CURSOR = "\x1b[?25h"
RESUMABLE = frozenset(("run", "make-videos", "prepare", "pretrain", "evaluate", "classify", "sweep", "index"))
"""Commands that resume when the same command is given again."""


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread on SIGINT or SIGTERM."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Interruption:
    """Signal handling of this process, from :meth:`listen` on.

    Args:
        verb: name of the running command; decides the last line.
    """

    def __init__(self, verb: str) -> None:
        self._verb, self._raised, self._own = verb, False, 0
        self._printed: set[str] = set()
        self._print_lock = threading.RLock()
        self._reading, self._read = threading.Lock(), threading.Event()
        self.signum = 0
        """First signal received; 0 before."""

    def listen(self) -> None:
        """Install the handlers: signals raise :class:`Interrupted` in this thread, which must be the main one."""
        self._pipe, writing = os.pipe()
        adopt_orphans()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        sys.unraisablehook = partial(self._unraisable, sys.unraisablehook)
        threading.Thread(target=self._watch, daemon=True, name="signals").start()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # ignored already, as shells do for background jobs
                signal.signal(number, self._raise)

    @property
    def exit_code(self) -> int:
        """Exit code by the convention of shells: 128 plus the signal."""
        return 128 + self.signum

    def heard(self) -> int:
        """First signal received, or 0; also one that the thread has not read yet.

        A library that replaced the handler may end the command before the thread reads the signal.
        """
        with self._reading:
            unread = bool(select.select([self._pipe], [], [], 0)[0])
        if unread:
            self._read.wait(GRACE_PERIOD_S)
        return self.signum

    def print_stopped(self) -> None:
        """Print the last line of the process."""
        self._print_once("stopped; the same command continues" if self._verb in RESUMABLE else "stopped")

    def _print_once(self, line: str) -> None:
        """Print a line once, whichever thread is first."""
        with self._print_lock:
            if line not in self._printed:
                self._printed.add(line)
                write_stderr(line)

    def ignore_signals(self) -> None:
        """Stop raising: the command has ended. A signal still limits how long the process may take."""
        self._raised = True

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        self._print_once(STOPPING)
        if not self._raised:  # cleanup is not interrupted; the thread bounds its time
            self._raised = True
            raise Interrupted(signum)

    def _unraisable(self, otherwise: Callable[[UnraisableHookArgs], object], args: UnraisableHookArgs) -> None:
        """Raise :class:`Interrupted` again after it was lost, for example in the callback of a weak reference."""
        if not isinstance(args.exc_value, Interrupted):
            otherwise(args)
            return
        self._raised, self._own = False, self._own + 1
        main = threading.main_thread().ident
        threading.Timer(RETRY_S, signal.pthread_kill, [main, args.exc_value.signum]).start()

    def _watch(self) -> None:
        self._next_signal(None)
        start = time.monotonic()
        self._print_once(STOPPING)
        while (left := start + GRACE_PERIOD_S - time.monotonic()) > 0:
            if not self._next_signal(left):
                continue
            if self._own:
                self._own -= 1
            elif time.monotonic() - start > DEBOUNCE_S:
                break
        self._end()

    def _next_signal(self, timeout_s: float | None) -> int:
        """Next signal of :data:`SIGNALS`; 0 after ``timeout_s`` seconds or another signal."""
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
        """Kill all child processes and end this one."""
        kill_descendants()
        if os.isatty(STDERR):
            write_stderr(SHOW_CURSOR, end="")
        self.print_stopped()
        os._exit(self.exit_code)


def write_stderr(line: str, end: str = "\n") -> None:
    """Write a line to stderr without blocking; it is dropped if stderr is closed or its pipe is full."""
    with suppress(OSError, ValueError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, f"{line}{end}".encode())


@contextmanager
def restore_signal_handlers() -> Iterator[None]:
    """Restore the handlers of :data:`SIGNALS` after a block that calls a library which replaces them.

    This includes handlers that Python cannot see: Ray's C++ code makes SIGTERM end the process with a stack trace.
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
