"""Sharded output folder of Ray Data tasks: a clip store or a search index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray.data

from vicc_ray.clip_store.schema import FAILURES_FILE, shard_path
from vicc_ray.config import PrepareConfig
from vicc_ray.datasets import Inputs
from vicc_ray.datasets.locations import Location, as_json, from_json
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.task_waits import TaskResources, report_stalls, reporter
from vicc_ray.sharding.failure_limit import exceeds_failure_limit, failure_limit_error
from vicc_ray.sharding.plan import PLAN_FILE, Failure, PlannedVideo, ShardPlan, read_failures
from vicc_ray.sharding.task import is_building
from vicc_ray.utils.console import Console
from vicc_ray.utils.fs import atomic_write, folder_lock, remove_partials
from vicc_ray.utils.progress_bar import ProgressBar

Videos = list[tuple[Location, PlannedVideo]]
BuildShard = Callable[[int, Videos], int]
"""Function from a shard number and its videos to the number of failures; pickled to the workers."""


@dataclass(frozen=True)
class ShardedOutput:
    """Folder of shards, with its names in messages.

    Attributes:
        words: name of the output, as "clip store".
        verb: command that writes it, as "prepare".
        progress_title: title of the progress bar, such as "preparing videos".
        files: names of files other than shards, plan and failures.
    """

    path: Path
    words: str
    verb: str
    progress_title: str
    files: tuple[str, ...]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder, check that it is writable, and lock it against other calls."""
        with ExitStack() as stack:
            try:
                with self.write_errors():
                    self.path.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(folder_lock(self.path))
            except BlockingIOError:
                raise UserError(
                    f"{self.path} is being written by another `vicc-ray {self.verb}`; wait for it or stop it"
                ) from None
            self._clear()
            yield
            self._clear()

    def _clear(self) -> None:
        """Remove temporary files of dead processes; other files of the folder belong to other commands."""
        remove_partials(self.path, (PLAN_FILE, FAILURES_FILE, *self.files))
        for tmp in self.path.glob(".part-*"):
            tmp.unlink(missing_ok=True)

    @contextmanager
    def write_errors(self) -> Iterator[None]:
        """Turn errors of the file system into UserError."""
        try:
            yield
        except BlockingIOError:  # a lock, not a fault of the file system
            raise
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: object) -> UserError:
        return UserError(f"the {self.words} {self.path} cannot be written: {error}")

    def missing(self, plan: ShardPlan) -> list[int]:
        """Shards not yet written."""
        return [part for part in range(len(plan.shards)) if not shard_path(self.path, part).exists()]

    def fill(
        self,
        plan: ShardPlan,
        locations: Mapping[str, Location],
        make: BuildShard,
        settings: PrepareConfig,
        progress: bool,
        resources: TaskResources,
        actors: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the missing shards, by tasks of one CPU or by actors.

        Args:
            make: builds a shard.
        resources: resources of a task or an actor.
        actors: arguments of Ray Data's ``map`` that make it use actors; None for tasks.

        Raises:
            UserError: the folder cannot be written, or more failures than ``prepare.max_failure_rate``.
        """
        tasks = [_task(part, plan.shards[part], locations) for part in self.missing(plan)]
        # One block and one CPU per task: the CPUs of the cluster bound the concurrency.
        rows = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        build: Any = BuildShardTask if actors else BuildShardTask(make)
        done = rows.map(build, **({"fn_constructor_args": (make,), **actors} if actors else {"num_cpus": 1}))
        videos = failures = 0
        with ProgressBar(
            self.progress_title, sum(len(json.loads(task["videos"])) for task in tasks), show=progress
        ) as bar:
            report = resources.tell or reporter(bar)
            resources.wait(report)
            with report_stalls(resources.bundle, report, partial(is_building, self.path)) as stall:
                for row in done.iter_rows():
                    stall.restart()
                    if row["error"]:
                        raise self._unwritable(row["error"])
                    videos, failures = videos + row["videos"], failures + row["failures"]
                    bar.update(videos, f"{failures} failed" if failures else "")
                    if exceeds_failure_limit(videos, failures, settings):
                        raise failure_limit_error(videos, failures, settings, self.merge_failures(plan))

    def merge_failures(self, plan: ShardPlan) -> dict[str, Failure]:
        """Write the failures of the finished parts to one file."""
        failures = read_failures(self.path, plan)
        lines = [json.dumps({"path": path, "reason": failures[path].reason}) for path in sorted(failures)]
        atomic_write(self.path / FAILURES_FILE, "".join(line + "\n" for line in lines))
        return failures

    def check_sum(self, inputs: int, rows: int, failures: Mapping[str, Failure], settings: PrepareConfig) -> None:
        """Check that every input is a row or a failure.

        Raises:
            UserError: no row at all, or too many failures.
            RuntimeError: rows and failures do not add up (damaged shards).
        """
        if rows == 0:
            first = "; ".join(f"{path}: {failures[path].reason}" for path in sorted(failures)[:3])
            where = self.path / FAILURES_FILE
            raise UserError(f"none of the {len(failures)} videos could be used (all in {where}): {first}")
        if rows + len(failures) != inputs:
            raise RuntimeError(
                f"{inputs} inputs do not match {rows} rows and {len(failures)} failures: another program has "
                f"changed files of {self.path}; remove it and run `vicc-ray {self.verb}` again"
            )
        if exceeds_failure_limit(inputs, len(failures), settings):
            raise failure_limit_error(inputs, len(failures), settings, failures)


def show_notes(inputs: Inputs, progress: bool) -> None:
    """Show how the request was interpreted, before the work."""
    console = Console(progress)
    for note in inputs.notes:
        console.print_line(note)


class BuildShardTask:
    """Adapter from Ray Data rows to a :data:`BuildShard`."""

    def __init__(self, make: BuildShard) -> None:
        self._make = make

    def __call__(self, task: dict[str, Any]) -> dict[str, Any]:
        """``part`` and ``videos`` of :func:`_task` -> counts of ``videos`` and ``failures``, and an ``error`` or ""."""
        videos = [(from_json(location), PlannedVideo(**video)) for location, video in json.loads(task["videos"])]
        try:
            failures = self._make(int(task["part"]), videos)
        except OSError as error:  # returned, not raised: the user gets one line instead of a Ray Data traceback
            return {"videos": 0, "failures": 0, "error": str(error)}
        return {"videos": len(videos), "failures": failures, "error": ""}


def _task(part: int, videos: Sequence[PlannedVideo], locations: Mapping[str, Location]) -> dict[str, Any]:
    """Row of a shard; videos as JSON text, since Arrow refuses file names that are not UTF-8."""
    return {"part": part, "videos": json.dumps([[as_json(locations[video.id]), video.as_json()] for video in videos])}
