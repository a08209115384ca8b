"""Shared helpers of the benchmarks: command-line calls, evaluation tables, machine description."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import read_lines


def vicc_ray(*arguments: object) -> None:
    """Call ``vicc-ray``; an error ends the benchmark."""
    subprocess.run([sys.executable, "-m", "vicc_ray", *map(str, arguments)], check=True)


def recalls(run: Path) -> dict[str, dict[str, float]]:
    """R@1 in percent and its 95 % interval, by row key of a run's evaluation."""
    table = json.loads((run / "evaluation" / "evaluation.json").read_text())
    return {
        row["key"]: {"r1": _percent(row["recall"]["1"]), "low": _percent(row["low"]), "high": _percent(row["high"])}
        for row in table["rows"]
    }


def _percent(fraction: float) -> float:
    return round(100 * fraction, 2)


def yield_as_ray_does(*_: object) -> None:
    """Lower this process to the priority of Ray's workers, so that other load affects both sides alike."""
    os.nice(15 - os.nice(0))


def machine() -> dict[str, object]:
    """Machine that the figures were measured on."""
    return {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}


def free_port() -> int:
    """Free TCP port of the loopback interface."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(what: str, condition: Callable[[], bool], process: Any | None, timeout_s: float) -> None:
    """Poll twice a second until a condition is true.

    Args:
        what: description of the condition for the error.
        process: ``Popen`` that must not exit before, if any.

    Raises:
        RuntimeError: the timeout passed, or the process exited first.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        ended = None if process is None else process.poll()
        if ended is not None or time.monotonic() > end:
            raise RuntimeError(f"waiting for: {what}; the process: {ended}")
        time.sleep(0.5)


def began(folder: RunDir, *workers: int) -> bool:
    """Whether a run's latest starts had these worker counts (equal ones in a row count once), and the last has
    recorded a step."""
    lines = read_lines(folder.metrics_file)
    recorded = lines[-1]["workers"] if lines else 0
    counts = [count for count, _ in groupby(folder.restarts.workers())]
    return counts[-len(workers) :] == [*workers] and recorded == workers[-1]
