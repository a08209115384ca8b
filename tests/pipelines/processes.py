"""Runs whose processes are killed in the middle: the command in a process of its own, and workers of this one."""

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

import ray  # puts its own psutil where Python looks

# isort: split
import psutil

from tests.interrupts import taking_interrupts
from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config
from vicc_ray.runs.run_dir import RunDir

DEADLINE_S = 600
"""For one thing to happen; a start of Ray Train takes half a minute on a busy machine."""
assert ray


@contextmanager
def begun(
    config: Config, store: Path, folder: Path, environment: dict[str, str] | None = None
) -> Iterator[psutil.Popen]:
    """``vicc-ray pretrain`` into ``folder`` in a process of its own, which is killed at the end of the block."""
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(dump_config(config))
    arguments = ("pretrain", str(recipe), "--store", str(store), "--run", str(folder))
    with command(*arguments, environment=environment) as process:
        yield process


@contextmanager
def command(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[psutil.Popen]:
    """``vicc-ray`` in a process of its own; killed at the end of the block if it has not ended."""
    whole = taking_interrupts([sys.executable, "-m", "vicc_ray", *arguments])
    with psutil.Popen(whole, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def killed_here(name: str, folder: RunDir) -> Iterator[None]:
    """Kill what the Ray of this process has begun under a name, once the run has a checkpoint; it must get one."""
    ended = Event()

    def kill() -> None:
        while folder.step == 0:
            assert not ended.wait(0.05), "the run has ended before anything was killed"
        kill_below(psutil.Process(), name)

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill)
        try:
            yield
        finally:
            ended.set()
        killed.result()


def wait_until(true: Callable[[], Any], process: psutil.Popen) -> None:
    """Until something holds that the process brings about; fails when that ends or takes too long."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            process.wait(timeout=0.05)
            raise AssertionError(f"the run has ended: {process.stderr.read()[-2000:]}")
        assert time.monotonic() < end


def past(folder: RunDir, step: int) -> Callable[[], bool]:
    """Whether there is a checkpoint of more steps."""
    return lambda: folder.step > step


def kill_below(process: psutil.Popen, name: str) -> None:
    """Kill -9 the processes of Ray that a driver has begun under a name."""
    found = [child for child in process.children(recursive=True) if child.name().startswith(name[:15])]
    assert found, f"no {name} among {[child.name() for child in process.children(recursive=True)]}"
    for child in found:
        child.kill()
