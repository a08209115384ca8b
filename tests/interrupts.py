"""Test helper that sends SIGINT and SIGTERM to child processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAKING_INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
MARK = "VICC_RAY_TEST_MARK"
"""Environment variable that marks all descendants of a command, whatever their parent is now."""
DEADLINE_S = 300.0
"""Timeout of the wait before the signal."""
ENDED_S = 2.0
"""Seconds in which orphaned processes must end."""
POLL_S = 0.02


def taking_interrupts(command: Sequence[str]) -> list[str]:
    """Wrap a command so that SIGINT stops it, also where the tests run in the background and the shell ignores SIGINT.

    A ``preexec_fn`` would fork this process with all its state: after an export and such a fork, a call to Ray hung in
    three of three tries.
    """
    return [sys.executable, "-c", TAKING_INTERRUPTS, *command]


@dataclass(frozen=True)
class Ended:
    """Outcome of a process that received a signal.

    Attributes:
        seconds: time from the signal to the exit.
        first_output_s: time from the signal to the next output on stderr.
        left: command lines of descendants that survive.
    """

    code: int
    errors: str
    seconds: float
    first_output_s: float
    left: list[str]


def interrupted(
    arguments: Sequence[str | Path],
    when: Callable[[int], object],
    signum: signal.Signals,
    folder: Path,
    again: Callable[[int], object] | None = None,
    environment: Mapping[str, str] = {},
) -> Ended:
    """Run ``python ARGUMENTS``, and send a signal once ``when`` returns true for its pid.

    Args:
        folder: folder for its output.
        again: condition for a second signal.
    """
    mark = secrets.token_hex(8)
    whole = taking_interrupts([sys.executable, *map(str, arguments)])
    folder.mkdir(parents=True, exist_ok=True)
    errors, environment = folder / "stderr", {**os.environ, **environment, MARK: mark}
    with (
        errors.open("wb") as err,
        (folder / "stdout").open("wb") as out,
        subprocess.Popen(whole, stdout=out, stderr=err, env=environment) as process,
    ):
        try:
            _wait(process, when, errors)
            before, signaled = errors.stat().st_size, time.monotonic()
            process.send_signal(signum)
            first_output_s = 0.0
            while process.poll() is None and time.monotonic() - signaled < DEADLINE_S:
                if not first_output_s and errors.stat().st_size > before:
                    first_output_s = time.monotonic() - signaled
                if again is not None and again(process.pid):
                    process.send_signal(signum)
                    again = None
                time.sleep(POLL_S)
            seconds = time.monotonic() - signaled
        finally:
            process.kill()
    return Ended(process.returncode, errors.read_text(), seconds, first_output_s, _left(mark))


def catches_signals(pid: int) -> bool:
    """Whether a process has signal handlers, which ``vicc-ray`` installs first."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def _wait(process: subprocess.Popen[bytes], when: Callable[[int], object], errors: Path) -> None:
    end = time.monotonic() + DEADLINE_S
    while not when(process.pid):
        assert process.poll() is None, f"the process has exited: {errors.read_text()[-2000:]}"
        assert time.monotonic() < end, f"timeout before the signal: {errors.read_text()[-2000:]}"
        time.sleep(POLL_S)


def _left(mark: str) -> list[str]:
    end = time.monotonic() + ENDED_S
    while (left := _marked(mark)) and time.monotonic() < end:
        time.sleep(POLL_S)
    return left


def _marked(mark: str) -> list[str]:
    command_lines = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                command_lines.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # the process has exited, or belongs to another user
            continue
    return command_lines
