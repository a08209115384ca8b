"""What the benchmarks share: calling the command line, reading its tables, naming the machine."""

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
    """Call ``vicc-ray`` as a user does; an error ends the benchmark."""
    subprocess.run([sys.executable, "-m", "vicc_ray", *map(str, arguments)], check=True)


def recalls(run: Path) -> dict[str, dict[str, float]]:
    """R@1 in per cent and its 95 % interval by the key of each row of a run's evaluation."""
    table = json.loads((run / "evaluation" / "evaluation.json").read_text())
    return {
        row["key"]: {"r1": _per_cent(row["recall"]["1"]), "low": _per_cent(row["low"]), "high": _per_cent(row["high"])}
        for row in table["rows"]
    }


def _per_cent(share: float) -> float:
    return round(100 * share, 2)


def yield_as_ray_does(*_: object) -> None:
    """Give this process the low priority of Ray's workers: other work on the machine then disturbs both sides alike."""
    os.nice(15 - os.nice(0))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}


def free_port() -> int:
    """One of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(what: str, true: Callable[[], bool], process: Any | None, patience_s: float) -> None:
    """Look twice a second until something holds.

    Args:
        what: in words, for the error.
        process: a ``Popen`` that brings it about, if one does.

    Raises:
        RuntimeError: it does not come, or the process ends before.
    """
    end = time.monotonic() + patience_s
    while not true():
        ended = None if process is None else process.poll()
        if ended is not None or time.monotonic() > end:
            raise RuntimeError(f"waiting for: {what}; the process: {ended}")
        time.sleep(0.5)


def began(folder: RunDir, *workers: int) -> bool:
    """Whether a run's newest beginnings, of those alike the first, had these numbers of workers, and the last has made
    a step."""
    lines = read_lines(folder.metrics_file)
    made = lines[-1]["workers"] if lines else 0
    counts = [count for count, _ in groupby(folder.restarts.workers())]
    return counts[-len(workers) :] == [*workers] and made == workers[-1]
