"""Wall time of each stage of a job, summed over restarts, in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vicc_ray.utils.jsonl import append_line, read_lines

FILE = "stage_times.jsonl"
"""File in a run's folder: a line each time a stage ends or is interrupted."""


@contextmanager
def stage_timer(run: Path, stage: str) -> Iterator[None]:
    """Record the time of the block, also if it raises.

    A killed process records nothing. A folder that is missing at the end of the block gets no line.
    """
    start_ms, clock = int(1000 * time.time()), time.monotonic()
    try:
        yield
    finally:
        if run.is_dir():
            seconds = time.monotonic() - clock
            append_line(run / FILE, {"stage": stage, "begun_ms": start_ms, "seconds": round(seconds, 3)})


def stage_seconds(run: Path) -> dict[str, float]:
    """Seconds of each stage, in the order of first starts."""
    total: dict[str, float] = {}
    for line in read_lines(run / FILE, "stage", "seconds"):
        total[line["stage"]] = total.get(line["stage"], 0.0) + float(line["seconds"])
    return total
