"""Helpers that kill processes of a run: the command in a child process, and Ray actors of this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import ray  # puts its bundled psutil on sys.path

# isort: split
import psutil

from tests.interrupts import taking_interrupts
from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config
from vicc_ray.runs.run_dir import RunDir

DEADLINE_S = 600
"""Timeout of one wait; a start of Ray Train takes half a minute on a busy machine."""
assert ray


@contextmanager
def pretrain_process(
    config: Config, store: Path, folder: Path, environment: dict[str, str] | None = None
) -> Iterator[psutil.Popen]:
    """Run ``vicc-ray pretrain`` into ``folder`` in a child process, killed at the end of the block."""
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(dump_config(config))
    arguments = ("pretrain", str(recipe), "--store", str(store), "--run", str(folder))
    with command(*arguments, environment=environment) as process:
        yield process


@contextmanager
def command(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[psutil.Popen]:
    """Run ``vicc-ray`` in a child process, killed at the end of the block if it still runs."""
    command_line = taking_interrupts([sys.executable, "-m", "vicc_ray", *arguments])
    with psutil.Popen(command_line, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def kill_after_first_checkpoint(name: str, folder: RunDir) -> Iterator[None]:
    """Kill this session's Ray processes of a name once the run has a checkpoint; fail if it ends before that."""
    ended = Event()

    def kill() -> None:
        while folder.step == 0:
            assert not ended.wait(0.05), "the run ended before its first checkpoint"
        kill_below(psutil.Process(), name)

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill)
        try:
            yield
        finally:
            ended.set()
        killed.result()


def wait_until(condition: Callable[[], Any], process: psutil.Popen) -> None:
    """Wait until a condition is true; fail when the process exits first or the deadline passes."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            process.wait(timeout=0.05)
            raise AssertionError(f"the process has exited: {process.stderr.read()[-2000:]}")
        assert time.monotonic() < end


def past(folder: RunDir, step: int) -> Callable[[], bool]:
    """Condition that the run has a checkpoint after ``step``."""
    return lambda: folder.step > step


def kill_below(process: psutil.Popen, name: str) -> None:
    """Send SIGKILL to a driver's descendants whose name starts with ``name``."""
    processes = [child for child in process.children(recursive=True) if child.name().startswith(name[:15])]
    assert processes, f"no {name} among {[child.name() for child in process.children(recursive=True)]}"
    for child in processes:
        child.kill()
