"""Videos to clip store with Ray Data: one task a shard, each shard whole or absent, each input a row or a failure.

Files of a store: ``part-N.parquet`` and ``part-N.failures.jsonl`` (a finished shard has both), ``plan.json`` (which
videos make which shard), ``store.json`` (settings), ``failures.jsonl`` (all failures: path, reason),
``truncated.jsonl`` (rows that the time limit ended, where there are any), ``duplicates.jsonl`` (videos of the same
content), ``index.parquet`` (all rows but their frames).
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
from vicc_ray.pipelines.prepare.sharded_output import ShardedOutput, Videos, tell_notes
from vicc_ray.sharding.build_shard import build_shard
from vicc_ray.sharding.plan import PlannedVideo, ShardPlan, make_plan, plan_videos, stored_rows
from vicc_ray.sharding.source_check import check_sources_unchanged
from vicc_ray.sharding.truncated_videos import TRUNCATED_FILE, merge_truncated
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path
from vicc_ray.utils.visible_text import visible


@dataclass(frozen=True)
class PrepareSummary:
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
    unlabelled: int = 0
    """Rows without a label."""
    truncated: int = 0
    """Rows that end where the time limit was over, not where the video does."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """How the request was understood, a line each."""

    def __str__(self) -> str:
        return "\n".join(map(visible, self.lines()))

    def lines(self) -> list[str]:
        """What is told of it."""
        text = f"{self.inputs} videos: {self.rows} in the clip store, {self.failures} failed"
        text += f" (see {FAILURES_FILE})" if self.failures else ""
        text += f"; {self.truncated} are cut short at the time limit (see {TRUNCATED_FILE})" if self.truncated else ""
        text += f"; {self.inputs - self.processed} of them were done before" if self.processed < self.inputs else ""
        text += f"; {self.unlisted} more are not in the labels" if self.unlisted else ""
        if self.unlabelled:
            text += f"; {'all' if self.unlabelled == self.rows else self.unlabelled} without a label"
        text += f"; {self._repeats()} (see {DUPLICATES_FILE})" if self.repeats else ""
        return [text, *self.notes]

    def _repeats(self) -> str:
        text = f"{self.repeats} repeat the content of another"
        return f"{text}, {self.leaks} of these contents stand both in train and in test" if self.leaks else text


def prepare(
    videos: Path | str,
    store_path: Path | str,
    config: Config,
    labels: Path | str | None = None,
    progress: bool = True,
) -> PrepareSummary:
    """List the videos (see :func:`list_videos` for what counts), and prepare them with :func:`prepare_inputs`."""
    return prepare_inputs(list_videos(videos, labels, config.prepare.split_fold), store_path, config, progress)


def prepare_inputs(
    inputs: Inputs, store_path: Path | str, config: Config, progress: bool = True, retry: bool = True
) -> PrepareSummary:
    """Fill the clip store at ``store_path``.

    Where no video has a split, ``config.prepare.test_fraction`` of the sources are held out for testing. A call that
    was stopped is continued by the same call: finished shards stay as they are. New videos, and failed ones to try
    again, make new shards. The folder of the store must be visible to all machines of a cluster.

    Args:
        retry: try failures again whose file has changed since, or was not at fault, or not surely.

    Raises:
        UserError: a store of other settings or with other videos or files of theirs, a store that cannot be written or
            is being written, more failures than ``prepare.max_failure_rate``, or not a single video that could be used.
    """
    store = local_path(store_path, WRITTEN_HERE).absolute()
    tell_notes(inputs, progress)
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
                room = TaskResources({"CPU": 1.0}, config.ray.node_wait_timeout_s)
                folder.fill(
                    plan, locations, partial(_make_shard, store, config.prepare), config.prepare, progress, room
                )
        processed = sum(len(plan.shards[shard]) for shard in todo)
        with folder.write_errors():
            summary = _summarise(folder, plan, config.prepare, processed, inputs.unlisted)
        return replace(summary, notes=(*inputs.notes, _labels_and_splits(plan)))


def _labels_and_splits(plan: ShardPlan) -> str:
    videos = [video for _, video in plan.latest().values()]
    splits, labels = Counter(video.split for video in videos), Counter(video.label for video in videos)
    how = (
        "as listed" if plan.test_fraction is None else f"none was listed: prepare.test_fraction {plan.test_fraction:g}"
    )
    if plan.test_fraction is not None and set(labels) == {""}:
        how = "none was listed, and a test asks for labels"
    text = f"{len(labels) - ('' in labels)} labels; split: {splits['train']} train, {splits['test']} test"
    return text + (f", {splits['']} in neither" if splits[""] else "") + f" ({how})"


def videos_to_come(inputs: Inputs, store: Path, config: Config) -> list[PlannedVideo]:
    """What :func:`prepare_inputs` would decode without ``retry`` beside what the store has; nothing is written.

    Raises:
        UserError: the store is of other settings, or has other videos or files of theirs.
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
        f"prepare.{key} was {was} and is {is_now} now"
        for key in type(settings).model_fields
        if (was := getattr(before, key)) != (is_now := getattr(settings, key)) and key not in unchecked
    ]
    if changed:
        raise UserError(
            f"the clip store {store} was begun with other settings: {', '.join(changed)}; "
            "use the settings of before, or prepare into another folder"
        )


def _summarise(
    folder: ShardedOutput, plan: ShardPlan, settings: PrepareConfig, processed: int, left_out: int
) -> PrepareSummary:
    """Merge what the shards tell, and check that every input is accounted for."""
    store, failures = folder.path, folder.merge_failures(plan)
    rows, inputs = sum(stored_rows(store, shard) for shard in range(len(plan.shards))), len(plan.latest())
    folder.check_sum(inputs, rows, failures, settings)
    entries = ClipStore(store).entries
    write_index(store, entries)
    duplicates = find_duplicates(entries)
    duplicates.write(store)
    unlabelled, truncated = entries.column("label").count(""), merge_truncated(store, plan)
    repeats, leaks = duplicates.repeats, duplicates.leaks
    return PrepareSummary(rows, len(failures), inputs, processed, left_out, repeats, leaks, unlabelled, truncated)
