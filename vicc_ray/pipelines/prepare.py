"""Videos to clip store with Ray Data: one task a shard, each shard whole or absent, each input a row or a failure.

Files of a store: ``part-N.parquet`` and ``part-N.failures.jsonl`` (a finished shard has both), ``plan.json`` (which
videos make which shard), ``store.json`` (settings), ``failures.jsonl`` (all failures: path, reason),
``duplicates.jsonl`` (videos of the same content), ``index.parquet`` (all rows but their frames).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.data
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vicc_ray.config import Config, PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.files import atomic_write, folder_lock
from vicc_ray.pipelines.duplicates import DUPLICATES_FILE, find_duplicates
from vicc_ray.pipelines.local_ray import ray_session
from vicc_ray.pipelines.mostly_failing import fails_too_much, mostly_failing
from vicc_ray.pipelines.plan import Failure, Plan, PlannedVideo, make_plan, read_failures, stored_rows
from vicc_ray.pipelines.shard import prepare_shard
from vicc_ray.video.sources import Inputs, list_videos
from vicc_ray.video.sources.places import Place, as_json, from_json
from vicc_ray.video.store import (
    FAILURES_FILE,
    INDEX_FILE,
    STORE_FILE,
    ClipStore,
    read_store_file,
    shard_path,
    write_index,
    write_store_file,
)

OF_ONE_CALL = ("time_limit_s", "videos_per_shard", "max_failures")
"""Settings that may differ between the calls that fill one store."""


@dataclass(frozen=True)
class Summary:
    """What became of the inputs: ``rows + failures == inputs``."""

    rows: int
    failures: int
    inputs: int
    processed: int = 0
    """Inputs that this call decoded; the others were done before."""
    unlisted: int = 0
    """Videos in the folder that the labels do not name; they are no inputs."""
    repeats: int = 0
    """Rows whose file has the same content as another row's."""
    leaks: int = 0
    """Groups of the same content that stand on both sides of the train/test split."""

    def __str__(self) -> str:
        text = f"{self.inputs} videos: {self.rows} in the clip store, {self.failures} failed"
        text += f" (see {FAILURES_FILE})" if self.failures else ""
        text += f"; {self.inputs - self.processed} of them were done before" if self.processed < self.inputs else ""
        text += f"; {self.unlisted} more are not in the labels" if self.unlisted else ""
        return text + (f"; {self._repeats()} (see {DUPLICATES_FILE})" if self.repeats else "")

    def _repeats(self) -> str:
        text = f"{self.repeats} repeat the content of another"
        return f"{text}, {self.leaks} of these contents stand both in train and in test" if self.leaks else text


def prepare(
    videos: Path | str,
    store_path: Path | str,
    config: Config,
    labels: Path | str | None = None,
    progress: bool = True,
) -> Summary:
    """List the videos (see :func:`list_videos` for what counts), and prepare them with :func:`prepare_inputs`."""
    return prepare_inputs(list_videos(videos, labels, config.prepare.fold), store_path, config, progress)


def prepare_inputs(inputs: Inputs, store_path: Path | str, config: Config, progress: bool = True) -> Summary:
    """Fill the clip store at ``store_path``.

    Where no video has a split, ``config.evaluate.test_share`` of the sources are held out for testing. A call that was
    stopped is continued by the same call: finished shards stay as they are. New videos, and failed ones whose file has
    changed since, make new shards. The folder of the store must be visible to all machines of a cluster.

    Raises:
        UserError: a store of other settings or with other videos, a store that cannot be written or is being written,
            more failures than ``prepare.max_failures``, or not a single video that could be used.
    """
    if "://" in str(store_path):
        raise UserError(
            f"--store {store_path}: a clip store is written to a folder that all machines see; give such a folder, and "
            "copy it into the bucket when it is finished: it can be read from there"
        )
    store = Path(store_path).absolute()
    with _locked(store):
        _check_settings(store, config.prepare)
        plan = make_plan(store, inputs.items, config.prepare, config.evaluate.test_share)
        with _write_errors(store):
            (store / INDEX_FILE).unlink(missing_ok=True)
            plan.write(store)
            write_store_file(store, config.prepare, len(plan.shards))
        todo = [shard for shard in range(len(plan.shards)) if not shard_path(store, shard).exists()]
        if todo:
            places = {item.id: item.place for item in inputs.items}
            tasks = [_task(shard, plan.shards[shard], places) for shard in todo]
            with ray_session(config.ray):
                _run_tasks(tasks, store, plan, config.prepare, progress)
        processed = sum(len(plan.shards[shard]) for shard in todo)
        with _write_errors(store):
            return _summarise(store, plan, config.prepare, processed, inputs.unlisted)


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Make the folder, see that it can be written, and keep other calls out of it."""
    with ExitStack() as held:
        try:
            with _write_errors(store):
                store.mkdir(parents=True, exist_ok=True)
                held.enter_context(folder_lock(store))
        except BlockingIOError:
            raise UserError(f"{store} is being written by another `vicc-ray prepare`; wait for it or end it") from None
        _clear(store)
        yield
        _clear(store)


def _clear(store: Path) -> None:
    """Remove what processes that died left behind."""
    for left_behind in store.glob(".part-*"):
        left_behind.unlink(missing_ok=True)


@contextmanager
def _write_errors(store: Path) -> Iterator[None]:
    """Errors of the file system are the user's to mend."""
    try:
        yield
    except BlockingIOError:  # a lock, not a fault of the file system
        raise
    except OSError as error:
        raise UserError(f"the clip store {store} cannot be written: {error}") from None


def _check_settings(store: Path, settings: PrepareConfig) -> None:
    if not (store / STORE_FILE).exists():
        return
    before = read_store_file(store)["settings"]
    changed = [
        f"prepare.{key} was {before[key]} and is {value} now"
        for key, value in settings.model_dump().items()
        if before[key] != value and key not in OF_ONE_CALL
    ]
    if changed:
        raise UserError(
            f"the clip store {store} was begun with other settings: {', '.join(changed)}; "
            "use the settings of before, or prepare into another folder"
        )


def _task(shard: int, videos: Sequence[PlannedVideo], places: Mapping[str, Place]) -> dict[str, Any]:
    """One row for Ray Data; the videos as text, since Arrow refuses file names that are not UTF-8."""
    return {"shard": shard, "videos": json.dumps([[as_json(places[video.id]), asdict(video)] for video in videos])}


def _run_tasks(tasks: list[dict[str, Any]], store: Path, plan: Plan, settings: PrepareConfig, progress: bool) -> None:
    def make_shard(task: dict[str, Any]) -> dict[str, Any]:
        videos = [(from_json(place), PlannedVideo(**video)) for place, video in json.loads(task["videos"])]
        try:
            failures = prepare_shard(store, int(task["shard"]), videos, settings)
        except OSError as error:  # returned, not raised: one line for the user, not the traces of Ray Data
            return {"videos": 0, "failures": 0, "error": str(error)}
        return {"videos": len(videos), "failures": failures, "error": ""}

    # One block a task and one core a task: the cores of the cluster bound what runs at once.
    done = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(make_shard, num_cpus=1)
    columns = (
        TextColumn("preparing videos"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failures]} failed, time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        videos = failures = 0
        line = bar.add_task("", total=sum(len(json.loads(task["videos"])) for task in tasks), failures=failures)
        for row in done.iter_rows():
            if row["error"]:
                raise UserError(f"the clip store {store} cannot be written: {row['error']}")
            videos, failures = videos + row["videos"], failures + row["failures"]
            bar.update(line, advance=row["videos"], failures=failures)
            if fails_too_much(videos, failures, settings):
                raise mostly_failing(videos, failures, settings, _write_failures(store, plan))


def _write_failures(store: Path, plan: Plan) -> dict[str, Failure]:
    """Merge the failures of the finished shards."""
    failures = read_failures(store, plan)
    lines = [json.dumps({"path": path, "reason": failures[path].reason}) for path in sorted(failures)]
    atomic_write(store / FAILURES_FILE, "".join(line + "\n" for line in lines))
    return failures


def _summarise(store: Path, plan: Plan, settings: PrepareConfig, processed: int, left_out: int) -> Summary:
    """Merge what the shards tell, and check that every input is accounted for.

    Raises:
        UserError: no shard has a row, or too many inputs failed.
        RuntimeError: the sum does not hold (damaged shards).
    """
    failures = _write_failures(store, plan)
    rows, inputs = sum(stored_rows(store, shard) for shard in range(len(plan.shards))), len(plan.latest())
    if rows == 0:
        first = "; ".join(f"{path}: {failures[path].reason}" for path in sorted(failures)[:3])
        raise UserError(f"none of the {len(failures)} videos could be used (all in {store / FAILURES_FILE}): {first}")
    if rows + len(failures) != inputs:
        raise RuntimeError(
            f"{inputs} inputs are not {rows} rows and {len(failures)} failures: something else has changed "
            f"the files of {store}; prepare it anew"
        )
    if fails_too_much(inputs, len(failures), settings):
        raise mostly_failing(inputs, len(failures), settings, failures)
    entries = ClipStore(store).entries
    write_index(store, entries)
    duplicates = find_duplicates(entries)
    duplicates.write(store)
    return Summary(rows, len(failures), inputs, processed, left_out, duplicates.repeats, duplicates.leaks)
