"""What trainings have done up to their interruption is kept, as far as their workers manage in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.interruption import write_stderr
from vicc_ray.utils.jsonl import read_lines

CHECKPOINT_S = 6.0
"""Seconds that the workers have for it: a step or two, and the writing."""
POLL_S = 0.1


@contextmanager
def checkpoint_on_interrupt(runs: Callable[[], Sequence[RunDir]]) -> Iterator[None]:
    """Ask for checkpoints when the block is interrupted, and say which steps they are of.

    Args:
        runs: those that may be in training then.
    """
    try:
        yield
    except KeyboardInterrupt:
        training = [run for run in runs() if run.is_training()]
        _keep(training)
        for run in training:
            write_stderr(f"{run.path}: {_in_words(run)}")
        raise


def _keep(runs: Sequence[RunDir]) -> None:
    """Ask for a checkpoint of each that has made steps since its last one, and wait for them."""
    made = {run: _last(run.metrics_file) for run in runs}
    lacking = {run: step for run, step in made.items() if step > _last(run.checkpoints_file)}
    for run in lacking:
        run.request_file.touch()
    end = time.monotonic() + CHECKPOINT_S
    waiting = dict(lacking)
    while waiting and time.monotonic() < end:
        time.sleep(POLL_S)
        waiting = {
            run: step for run, step in waiting.items() if _last(run.checkpoints_file) < step and run.is_training()
        }
    for run in lacking:
        run.request_file.unlink(missing_ok=True)


def _last(file: Path) -> int:
    """The last step in a file of JSON lines; 0 if there is none."""
    return max((int(line["step"]) for line in read_lines(file, "step")), default=0)


def _in_words(run: RunDir) -> str:
    kept, made = _last(run.checkpoints_file), _last(run.metrics_file)
    again = f", {made - kept} steps after it will be made again" if made > kept else ""
    return f"the checkpoint of step {kept} is kept{again}" if kept else "no checkpoint yet, it begins anew"
