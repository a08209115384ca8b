"""Preparation pipeline on Ray Data: one task per shard. A shard is complete or absent, an input a row or a failure.

Files of a store: ``part-N.parquet`` and ``part-N.failures.jsonl`` (a finished shard has both), ``plan.json`` (videos of
each shard), ``store.json`` (settings), ``failures.jsonl`` (all failures: path, reason),
``truncated.jsonl`` (rows cut at the time limit, if any), ``duplicates.jsonl`` (videos of the same
content), ``index.parquet`` (all rows without frames).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vicc_ray.clip_store.duplicates import DUPLICATES_FILE, find_duplicates
from vicc_ray.clip_store.fingerprint import PER_CALL_SETTINGS
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import FAILURES_FILE, INDEX_FILE, STORE_FILE, read_store_file, write_store_file
from vicc_ray.clip_store.writer import write_index
from vicc_ray.config import Config, PrepareConfig
from vicc_ray.datasets import Inputs, list_videos
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.task_waits import TaskResources
from vicc_ray.pipelines.prepare.sharded_output import ShardedOutput, Videos, show_notes
from vicc_ray.sharding.build_shard import build_shard
from vicc_ray.sharding.plan import PlannedVideo, ShardPlan, make_plan, plan_videos, stored_rows
from vicc_ray.sharding.source_check import check_sources_unchanged
from vicc_ray.sharding.truncated_videos import TRUNCATED_FILE, merge_truncated
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path
from vicc_ray.utils.visible_text import visible


@dataclass(frozen=True)
class PrepareSummary:
    """Summary of a preparation: ``rows + failures == inputs``."""

    rows: int
    failures: int
    inputs: int
    processed: int = 0
    """Inputs that this call decoded; earlier calls decoded the others."""
    unlisted: int = 0
    """Videos in the folder that the labels do not name; they are not inputs."""
    repeats: int = 0
    """Rows whose file has the same content as that of another row."""
    leaks: int = 0
    """Groups of the same content in both train and test."""
    unlabelled: int = 0
    """Rows without a label."""
    truncated: int = 0
    """Rows cut at the time limit, before the end of their video."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Interpretation of the request, one line each."""

    def __str__(self) -> str:
        return "\n".join(map(visible, self.lines()))

    def lines(self) -> list[str]:
        """Summary as lines of text."""
        text = f"{self.inputs} videos: {self.rows} in the clip store, {self.failures} failed"
        text += f" (see {FAILURES_FILE})" if self.failures else ""
        text += f"; {self.truncated} are cut at the time limit (see {TRUNCATED_FILE})" if self.truncated else ""
        text += f"; {self.inputs - self.processed} of them from earlier calls" if self.processed < self.inputs else ""
        text += f"; {self.unlisted} more are not in the labels" if self.unlisted else ""
        if self.unlabelled:
            text += f"; {'all' if self.unlabelled == self.rows else self.unlabelled} without a label"
        text += f"; {self._repeats()} (see {DUPLICATES_FILE})" if self.repeats else ""
        return [text, *self.notes]

    def _repeats(self) -> str:
        text = f"{self.repeats} repeat the content of another"
        return f"{text}, {self.leaks} of these contents are in both train and test" if self.leaks else text


def prepare(
    videos: Path | str,
    store_path: Path | str,
    config: Config,
    labels: Path | str | None = None,
    progress: bool = True,
) -> PrepareSummary:
    """List the videos (see :func:`list_videos`), and prepare them with :func:`prepare_inputs`."""
    return prepare_inputs(list_videos(videos, labels, config.prepare.split_fold), store_path, config, progress)


def prepare_inputs(
    inputs: Inputs, store_path: Path | str, config: Config, progress: bool = True, retry: bool = True
) -> PrepareSummary:
    """Fill the clip store at ``store_path``.

    Where no video has a split, ``config.prepare.test_fraction`` of the sources are held out for testing. The same call
    resumes an interrupted one and keeps finished shards. New videos, and failed ones to retry, form new shards. All
    nodes of a cluster must see the folder of the store.

    Args:
        retry: retry failures whose file has changed since or may not be the cause.

    Raises:
        UserError: a store with other settings, videos or source files; a store that cannot be written or that another
            process writes; more failures than ``prepare.max_failure_rate``; or no usable video.
    """
    store = local_path(store_path, WRITTEN_HERE).absolute()
    show_notes(inputs, progress)
    files = (STORE_FILE, INDEX_FILE, DUPLICATES_FILE, TRUNCATED_FILE)
    folder = ShardedOutput(store, "clip store", "prepare", "preparing videos", files)
    with folder.locked():
        _check_settings(store, config.prepare)
        plan = _plan(store, inputs, config, retry)
        with folder.write_errors():
            (store / INDEX_FILE).unlink(missing_ok=True)
            plan.write(store)
            write_store_file(store, config.prepare, len(plan.shards))
        todo = folder.missing(plan)
        if todo:
            locations = {item.id: item.location for item in inputs.items}
            with ray_session(config.ray):
                resources = TaskResources({"CPU": 1.0}, config.ray.node_wait_timeout_s)
                folder.fill(
                    plan, locations, partial(_make_shard, store, config.prepare), config.prepare, progress, resources
                )
        processed = sum(len(plan.shards[shard]) for shard in todo)
        with folder.write_errors():
            summary = _summarize(folder, plan, config.prepare, processed, inputs.unlisted)
        return replace(summary, notes=(*inputs.notes, _labels_and_splits(plan)))


def _labels_and_splits(plan: ShardPlan) -> str:
    videos = [video for _, video in plan.latest().values()]
    splits, labels = Counter(video.split for video in videos), Counter(video.label for video in videos)
    origin = (
        "as listed" if plan.test_fraction is None else f"none was listed: prepare.test_fraction {plan.test_fraction:g}"
    )
    if plan.test_fraction is not None and set(labels) == {""}:
        origin = "none was listed, and a test split needs labels"
    text = f"{len(labels) - ('' in labels)} labels; split: {splits['train']} train, {splits['test']} test"
    return text + (f", {splits['']} in neither" if splits[""] else "") + f" ({origin})"


def new_videos(inputs: Inputs, store: Path, config: Config) -> list[PlannedVideo]:
    """Videos that :func:`prepare_inputs` without ``retry`` would add to the store. Writes nothing.

    Raises:
        UserError: a store with other settings, videos or source files.
    """
    _check_settings(store, config.prepare)
    before, plan = ShardPlan.read(store), _plan(store, inputs, config, retry=False)
    return [video for shard in plan.shards[len(before.shards) :] for video in shard]


def _plan(store: Path, inputs: Inputs, config: Config, retry: bool) -> ShardPlan:
    before = ShardPlan.read(store)
    plan = make_plan(store, inputs.items, config.prepare, config.prepare.test_fraction, retry)
    check_sources_unchanged(store, before, plan_videos(inputs.items), {item.id: item.location for item in inputs.items})
    return plan


def _make_shard(store: Path, settings: PrepareConfig, shard: int, videos: Videos) -> int:
    return build_shard(store, shard, videos, settings)


def _check_settings(store: Path, settings: PrepareConfig) -> None:
    if not (store / STORE_FILE).exists():
        return
    before, _ = read_store_file(store)
    unchecked = (*PER_CALL_SETTINGS, "test_fraction")  # the plan checks the fraction: inputs with a split do not use it
    changed = [
        f"prepare.{key} was {before_value} and is {value} now"
        for key in type(settings).model_fields
        if (before_value := getattr(before, key)) != (value := getattr(settings, key)) and key not in unchecked
    ]
    if changed:
        raise UserError(
            f"the clip store {store} was prepared with other settings: {', '.join(changed)}; "
            "use the earlier settings, or prepare into another folder"
        )


def _summarize(
    folder: ShardedOutput, plan: ShardPlan, settings: PrepareConfig, processed: int, unlisted: int
) -> PrepareSummary:
    """Merge the reports of the shards, and check that every input is a row or a failure."""
    store, failures = folder.path, folder.merge_failures(plan)
    rows, inputs = sum(stored_rows(store, shard) for shard in range(len(plan.shards))), len(plan.latest())
    folder.check_sum(inputs, rows, failures, settings)
    entries = ClipStore(store).entries
    write_index(store, entries)
    duplicates = find_duplicates(entries)
    duplicates.write(store)
    unlabelled, truncated = entries.column("label").count(""), merge_truncated(store, plan)
    repeats, leaks = duplicates.repeats, duplicates.leaks
    return PrepareSummary(rows, len(failures), inputs, processed, unlisted, repeats, leaks, unlabelled, truncated)
