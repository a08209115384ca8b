"""Ctrl-C and SIGTERM: how a process ends by them. Commands with Ray: tests/pipelines/train/test_interrupts.py
and benchmarks/proofs/test_interrupts.py."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.test_main import COMMANDS
from tests.interrupts import catches_signals, interrupted, taking_interrupts
from vicc_ray.utils.interruption import RESUMABLE, restore_signal_handlers

SOON_S = 15.0
SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM
EVERY_COMMAND = (*COMMANDS, "sweep", "submit")
STUBBORN = """
import pathlib, signal, subprocess, sys, time
from vicc_ray.utils import interruption
interruption.GRACE_PERIOD_S, interruption.DEBOUNCE_S = float(sys.argv[2]), 0.0
interruption.Interruption("pretrain").listen()
if sys.argv[3] == "replaced":
    signal.signal(signal.SIGINT, lambda *_: None)
subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '1000'])"])
subprocess.run([sys.executable, "-c", "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)"])
pathlib.Path(sys.argv[1]).touch()
while True:
    try:
        time.sleep(1000)
    except KeyboardInterrupt:
        pathlib.Path(sys.argv[1] + "-told").touch()
"""
"""A program that does not let itself be interrupted, with processes below it, one of them an orphan."""
EXITING = """
import os, signal, sys
import vicc_ray.cli.main
from vicc_ray.__main__ import main
def command():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    os.kill(os.getpid(), signal.SIGTERM)
vicc_ray.cli.main.main = command
sys.argv[1:] = ["pretrain"]
sys.exit(main())
"""
"""A program whose library ends it by the signal at once, as Ray does while it starts."""


SWALLOWING = """
import os, signal, time, weakref
from vicc_ray.utils.interruption import Interruption
Interruption("pretrain").listen()
def forget(_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)
thing = type("Thing", (), {})()
reference = weakref.ref(thing, forget)
try:
    del thing
    time.sleep(1000)
except KeyboardInterrupt:
    print("raised")
"""
"""A program that is interrupted where Python can raise nothing."""


AGAIN = SWALLOWING.replace(
    """
    print("raised")
""",
    """
    time.sleep(interruption.DEBOUNCE_S + 0.2)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1000)
""",
).replace("import os,", "from vicc_ray.utils import interruption; interruption.GRACE_PERIOD_S = 1000; import os,")
"""The same, interrupted once more while it tidies up."""


@pytest.mark.slow
@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_an_interrupt_right_after_the_start_ends_the_command(command: str, tmp_path: Path) -> None:
    signum = SIGTERM if EVERY_COMMAND.index(command) % 2 else SIGINT
    ended = interrupted(["-m", "vicc_ray", command], catches_signals, signum, tmp_path)
    assert ended.code == 128 + signum
    assert ended.seconds < SOON_S
    last = ended.errors.splitlines()[-1]
    assert last.startswith("stopped")
    assert ("the same command continues" in last) == (command in RESUMABLE)
    assert "Traceback" not in ended.errors


@pytest.mark.slow
@pytest.mark.parametrize("signum", [SIGINT, SIGTERM])
def test_an_interrupt_in_the_middle_ends_the_command(signum: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "out"
    making = ["-m", "vicc_ray", "make-videos", out, "--train", "500"]
    ended = interrupted(making, lambda _: any(out.glob("*/*.mp4")), signum, tmp_path)
    assert ended.code == 128 + signum
    assert ended.errors.splitlines()[-1] == "stopped; the same command continues"
    assert "Traceback" not in ended.errors
    assert not any(out.glob("**/.*.part")), "half a video is left"


def test_resumable_commands_exist() -> None:
    assert set(EVERY_COMMAND) >= RESUMABLE


@pytest.mark.slow
def test_a_process_that_ignores_the_signal_is_killed_with_its_descendants(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ended = interrupted(["-c", STUBBORN, ready, "0.5", "its own"], lambda _: ready.exists(), SIGTERM, tmp_path)
    assert (ended.code, ended.left) == (143, [])
    assert ended.seconds > 0.5
    assert ended.errors.splitlines()[-1] == "stopped; the same command continues"


@pytest.mark.slow
def test_a_library_handler_does_not_block_the_interrupt(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ended = interrupted(["-c", STUBBORN, ready, "0.5", "replaced"], lambda _: ready.exists(), SIGINT, tmp_path)
    assert (ended.code, ended.left) == (130, [])
    assert not (tmp_path / "ready-told").exists()


@pytest.mark.slow
def test_a_library_that_exits_does_not_choose_the_exit_code() -> None:
    done = subprocess.run([sys.executable, "-c", EXITING], capture_output=True, text=True)
    assert done.returncode == 143
    assert done.stderr.splitlines()[-1] == "stopped; the same command continues"


def test_an_interrupt_that_cannot_be_raised_is_deferred() -> None:
    done = subprocess.run(taking_interrupts([sys.executable, "-c", SWALLOWING]), capture_output=True, text=True)
    assert done.stdout == "raised\n"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_signal_after_a_deferred_one_ends_the_process_at_once() -> None:
    done = subprocess.run(taking_interrupts([sys.executable, "-c", AGAIN]), capture_output=True, timeout=60)
    assert done.returncode == 130


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    ready, told = tmp_path / "ready", tmp_path / "ready-told"
    ended = interrupted(
        ["-c", STUBBORN, ready, "1000", "its own"],
        lambda _: ready.exists(),
        SIGINT,
        tmp_path,
        again=lambda _: told.exists(),
    )
    assert (ended.code, ended.left) == (130, [])
    assert 0 < ended.first_output_s < SOON_S  # long before its grace period is over


def test_handlers_replaced_by_a_library_are_restored() -> None:
    before = signal.getsignal(SIGTERM)
    with restore_signal_handlers():
        signal.signal(SIGTERM, lambda *_: sys.exit(3))
    assert signal.getsignal(SIGTERM) == before
    thread = threading.Thread(target=lambda: restore_signal_handlers().__enter__())  # where no handler can be set
    thread.start()
    thread.join()
