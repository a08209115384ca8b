"""Checkpoint on interruption: a best effort to save the steps of running trainings within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.interruption import write_stderr
from vicc_ray.utils.jsonl import read_lines

CHECKPOINT_S = 6.0
"""Seconds for the workers to finish a step or two and write the checkpoint."""
POLL_S = 0.1


@contextmanager
def checkpoint_on_interrupt(runs: Callable[[], Sequence[RunDir]]) -> Iterator[None]:
    """Request checkpoints when the block is interrupted, and report their steps.

    Args:
        runs: runs that may be training at that time.
    """
    try:
        yield
    except KeyboardInterrupt:
        training = [run for run in runs() if run.is_training()]
        _request_checkpoints(training)
        for run in training:
            write_stderr(f"{run.path}: {_describe(run)}")
        raise


def _request_checkpoints(runs: Sequence[RunDir]) -> None:
    """Request a checkpoint of each run with steps since its last one, and wait for it."""
    newest = {run: _last_step(run.metrics_file) for run in runs}
    unsaved = {run: step for run, step in newest.items() if step > _last_step(run.checkpoints_file)}
    for run in unsaved:
        run.request_file.touch()
    end = time.monotonic() + CHECKPOINT_S
    waiting = dict(unsaved)
    while waiting and time.monotonic() < end:
        time.sleep(POLL_S)
        waiting = {
            run: step for run, step in waiting.items() if _last_step(run.checkpoints_file) < step and run.is_training()
        }
    for run in unsaved:
        run.request_file.unlink(missing_ok=True)


def _last_step(file: Path) -> int:
    """Last step in a JSON-lines file; 0 without one."""
    return max((int(line["step"]) for line in read_lines(file, "step")), default=0)


def _describe(run: RunDir) -> str:
    saved, newest = _last_step(run.checkpoints_file), _last_step(run.metrics_file)
    repeated = f"; {newest - saved} later steps will be repeated" if newest > saved else ""
    return f"checkpoint of step {saved} saved{repeated}" if saved else "no checkpoint yet; the run will start over"
