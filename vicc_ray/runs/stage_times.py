"""How long each part of a job took, in its run's folder: added up over all the times that it was begun again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vicc_ray.utils.jsonl import append_line, read_lines

FILE = "stage_times.jsonl"
"""In a run's folder: a line for each time that a stage ended or was interrupted."""


@contextmanager
def stage_timer(run: Path, stage: str) -> Iterator[None]:
    """Note the time that the block takes, also where it ends in an error.

    A process that is killed notes nothing. A folder that is not there at the end of the block gets no line.
    """
    begun, clock = int(1000 * time.time()), time.monotonic()
    try:
        yield
    finally:
        if run.is_dir():
            seconds = time.monotonic() - clock
            append_line(run / FILE, {"stage": stage, "begun_ms": begun, "seconds": round(seconds, 3)})


def stage_seconds(run: Path) -> dict[str, float]:
    """Seconds of each stage, in the order in which they were begun first."""
    total: dict[str, float] = {}
    for line in read_lines(run / FILE, "stage", "seconds"):
        total[line["stage"]] = total.get(line["stage"], 0.0) + float(line["seconds"])
    return total
