"""A folder that Ray Data tasks fill part by part: a clip store, a search index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from vicc_ray.utils.console import Console
from vicc_ray.utils.fs import atomic_write, folder_lock, remove_partials
from vicc_ray.utils.progress_bar import ProgressBar

Videos = list[tuple[Location, PlannedVideo]]
BuildShard = Callable[[int, Videos], int]
"""Of the number of a part and its videos to the number of failures; it travels to the workers."""


@dataclass(frozen=True)
class ShardedOutput:
    """The folder, and what to call it.

    Attributes:
        words: "clip store"
        verb: of the command line: "prepare"
        doing: of the progress display: "preparing videos"
        files: names of what is written beside the parts, the plan and the failures.
    """

    path: Path
    words: str
    verb: str
    doing: str
    files: tuple[str, ...]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, see that it can be written, and keep other calls out of it."""
        with ExitStack() as held:
            try:
                with self.write_errors():
                    self.path.mkdir(parents=True, exist_ok=True)
                    held.enter_context(folder_lock(self.path))
            except BlockingIOError:
                raise UserError(
                    f"{self.path} is being written by another `vicc-ray {self.verb}`; wait for it or end it"
                ) from None
            self._clear()
            yield
            self._clear()

    def _clear(self) -> None:
        """Remove what processes that died left behind of these files; others in the folder are not this verb's."""
        remove_partials(self.path, (PLAN_FILE, FAILURES_FILE, *self.files))
        for left_behind in self.path.glob(".part-*"):
            left_behind.unlink(missing_ok=True)

    @contextmanager
    def write_errors(self) -> Iterator[None]:
        """Errors of the file system are the user's to mend."""
        try:
            yield
        except BlockingIOError:  # a lock, not a fault of the file system
            raise
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: object) -> UserError:
        return UserError(f"the {self.words} {self.path} cannot be written: {error}")

    def missing(self, plan: ShardPlan) -> list[int]:
        """The parts that are not there yet."""
        return [part for part in range(len(plan.shards)) if not shard_path(self.path, part).exists()]

    def fill(
        self,
        plan: ShardPlan,
        locations: Mapping[str, Location],
        make: BuildShard,
        settings: PrepareConfig,
        progress: bool,
        room: TaskResources,
        actors: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the missing parts, with the cores of the cluster, or with ``actors`` (arguments of Ray Data's map).

        Args:
            room: that a task, or an actor, takes.

        Raises:
            UserError: the folder cannot be written, or more failures than ``prepare.max_failure_rate``.
        """
        tasks = [_task(part, plan.shards[part], locations) for part in self.missing(plan)]
        # One block a task and one core a task: the cores of the cluster bound what runs at once.
        rows = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        maker: Any = BuildShardTask if actors else BuildShardTask(make)
        done = rows.map(maker, **({"fn_constructor_args": (make,), **actors} if actors else {"num_cpus": 1}))
        videos = failures = 0
        with ProgressBar(self.doing, sum(len(json.loads(task["videos"])) for task in tasks), show=progress) as bar:
            tell = room.tell or reporter(bar)
            room.wait(tell)
            with report_stalls(room.bundle, tell, self._being_made) as stall:
                for row in done.iter_rows():
                    stall.restart()
                    if row["error"]:
                        raise self._unwritable(row["error"])
                    videos, failures = videos + row["videos"], failures + row["failures"]
                    bar.update(videos, f"{failures} failed" if failures else "")
                    if exceeds_failure_limit(videos, failures, settings):
                        raise failure_limit_error(videos, failures, settings, self.merge_failures(plan))

    def _being_made(self) -> bool:
        """Whether a task is at work on a part: it keeps a journal as long as it is."""
        return any(self.path.glob(".part-*.journal"))

    def merge_failures(self, plan: ShardPlan) -> dict[str, Failure]:
        """Write the failures of the finished parts to one file."""
        failures = read_failures(self.path, plan)
        lines = [json.dumps({"path": path, "reason": failures[path].reason}) for path in sorted(failures)]
        atomic_write(self.path / FAILURES_FILE, "".join(line + "\n" for line in lines))
        return failures

    def check_sum(self, inputs: int, rows: int, failures: Mapping[str, Failure], settings: PrepareConfig) -> None:
        """See that every input is accounted for.

        Raises:
            UserError: no part has a row, or too many inputs failed.
            RuntimeError: the sum does not hold (damaged parts).
        """
        if rows == 0:
            first = "; ".join(f"{path}: {failures[path].reason}" for path in sorted(failures)[:3])
            where = self.path / FAILURES_FILE
            raise UserError(f"none of the {len(failures)} videos could be used (all in {where}): {first}")
        if rows + len(failures) != inputs:
            raise RuntimeError(
                f"{inputs} inputs are not {rows} rows and {len(failures)} failures: something else has changed "
                f"the files of {self.path}; {self.verb} it anew"
            )
        if exceeds_failure_limit(inputs, len(failures), settings):
            raise failure_limit_error(inputs, len(failures), settings, failures)


def tell_notes(inputs: Inputs, progress: bool) -> None:
    """Say before the work how the request was understood."""
    console = Console(progress)
    for note in inputs.notes:
        console.print_line(note)


class BuildShardTask:
    """A :data:`BuildShard` as Ray Data calls it."""

    def __init__(self, make: BuildShard) -> None:
        self._make = make

    def __call__(self, task: dict[str, Any]) -> dict[str, Any]:
        """``part`` and ``videos`` of :func:`_task` -> counts of ``videos`` and ``failures``, and an ``error`` or ""."""
        videos = [(from_json(location), PlannedVideo(**video)) for location, video in json.loads(task["videos"])]
        try:
            failures = self._make(int(task["part"]), videos)
        except OSError as error:  # returned, not raised: one line for the user, not the traces of Ray Data
            return {"videos": 0, "failures": 0, "error": str(error)}
        return {"videos": len(videos), "failures": failures, "error": ""}


def _task(part: int, videos: Sequence[PlannedVideo], locations: Mapping[str, Location]) -> dict[str, Any]:
    """One row for Ray Data; the videos as text, since Arrow refuses file names that are not UTF-8."""
    return {"part": part, "videos": json.dumps([[as_json(locations[video.id]), video.as_json()] for video in videos])}
