"""Pretraining on real Ray: order of the batches, phases, workers, forks and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.listening import external_listeners
from tests.pipelines.runs import losses, reference_losses, settings
from tests.s3 import s3_server
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import SCHEMA
from vicc_ray.clip_store.training_clips import make_samples
from vicc_ray.errors import UserError
from vicc_ray.pipelines.inference.evaluate import evaluate
from vicc_ray.pipelines.train.loader import batches
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder
from vicc_ray.utils.jsonl import read_lines

PHASES = ["rgb-stage1", "flow-stage1", "rgb-stage2-1"]
STEPS = 12  # 16 training videos, 4 a step, 3 phases of an epoch


@pytest.fixture(scope="module")
def undisturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run from start to end without interruption."""
    run = tmp_path_factory.mktemp("undisturbed")
    pretrain(settings(), store, run, progress=False)
    return run


@pytest.mark.parametrize(("start", "microbatch_bytes"), [(0, 1), (3, 1 << 20)])
def test_batches_follow_the_samplers_order_from_any_step_on_any_rank(
    store: Path, start: int, microbatch_bytes: int
) -> None:
    opened, config = ClipStore(store), settings()
    videos = [entry for entry in opened.entries if entry.split == "train"][:14]
    sampler = GlobalBatchSampler(len(videos), 4, seed=5)  # the fourth step spans two epochs
    for rank in range(2):
        builder = ClipBatchBuilder(opened, videos, sampler, config.clip, ("rgb", "flow"), rank, 2, microbatch_bytes)
        assert builder.microbatches == (2 if microbatch_bytes == 1 else 1)
        loaded = list(batches(builder, start, 6, 1.0, 3 * builder.batch_bytes))
        assert len(loaded) == 6 - start
        for step, batch in enumerate(loaded, start):
            indices, epochs = sampler.rank_batch(step, rank, 2)
            assert batch["videos"].tolist() == indices.tolist()
            for n, (video, epoch) in enumerate(zip(indices, epochs, strict=True)):
                alone = make_samples(opened, [videos[video]], config.clip, ("rgb", "flow"), 5, [epoch])
                assert all(np.array_equal(batch[name][n], value[0]) for name, value in alone.items())


def test_crops_of_a_stream_do_not_depend_on_the_other_stream(store: Path) -> None:
    opened, clip = ClipStore(store), settings().clip
    both = make_samples(opened, opened.entries[:2], clip, ("rgb", "flow"), 0, [0, 0])
    for stream in ("rgb", "flow"):
        alone = make_samples(opened, opened.entries[:2], clip, (stream,), 0, [0, 0])
        assert set(alone) == {stream, "appearance"}
        assert np.array_equal(alone[stream], both[stream])


def test_run_files_hold_every_step_phase_and_score(undisturbed: Path) -> None:
    assert len(losses(undisturbed)) == STEPS
    lines = read_lines(undisturbed / "metrics.jsonl")
    assert [line["phase"] for line in lines] == [phase for phase in PHASES for _ in range(4)]
    documented = {"epoch", "stage", "stream", "learning_rate", "entropy", "assignment_entropy", "ln_k"}
    documented |= {"prototypes_used", "data_ms", "compute_ms", "samples_per_s", "workers"}
    assert all(documented <= set(line) for line in lines)
    checks = read_lines(undisturbed / "validation.jsonl")
    assert [check["phase"] for check in checks] == PHASES
    assert all(0 <= check["low"] <= check["recall_at_1"] <= check["high"] <= 1 for check in checks)
    assert all(check["chance"] == 0.5 for check in checks)  # two balanced classes
    kept = {path.name for path in (undisturbed / "checkpoints").iterdir()}
    assert {f"phase-{n}-{phase}" for n, phase in enumerate(PHASES)} <= kept
    assert len([name for name in kept if name.startswith("step-")]) <= 2
    assert len([name for name in kept if name.startswith("best-")]) == 2  # rgb and flow
    assert not [name for name in kept if name.startswith(".")]
    written = read_lines(undisturbed / "checkpoints.jsonl")
    assert [line["step"] for line in written] == [3, 4, 6, 8, 9, 12]
    assert all(line["mb"] > 0 and line["copy_ms"] >= 0 and line["write_ms"] >= 0 for line in written)


def test_completed_run_is_not_changed(undisturbed: Path, store: Path) -> None:
    before = (undisturbed / "metrics.jsonl").stat().st_mtime_ns
    pretrain(settings(train={"num_workers": 2}), store, undisturbed, progress=False)
    assert (undisturbed / "metrics.jsonl").stat().st_mtime_ns == before


def test_two_workers_with_uneven_slices_match_one_worker(store: Path, tmp_path: Path) -> None:
    """And communicate on loopback only."""
    train = {"num_workers": 2, "global_batch_size": 5, "log_sample_ids": True, "validate_every_epochs": 0}
    config = settings(
        train=train, method={"queue_size": 10}, stage2={"global_batch_size": 3, "queue_size": 9, "precision": "fp32"}
    )
    with external_listeners() as listeners:
        pretrain(config, store, tmp_path, progress=False)
    assert not listeners
    np.testing.assert_allclose(losses(tmp_path), list(reference_losses(config, store)), rtol=1e-4)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert {line["workers"] for line in lines} == {2}
    assert {(line["stage"], line["samples"]) for line in lines} == {(1, 5), (2, 3)}
    taken = [video for line in read_lines(tmp_path / "samples.jsonl") for video in line["videos"]]
    assert [sorted(taken[start : start + 16]) for start in (0, 16, 32)] == [list(range(16))] * 3


def test_run_resumes_within_a_stage_2_with_its_own_batch(store: Path, tmp_path: Path) -> None:
    config = settings(
        train={"global_batch_size": 5, "validate_every_epochs": 0, "drop_last": True},
        method={"queue_size": 10},
        stage2={"global_batch_size": 3, "queue_size": 9},
    )
    pretrain(config, store, tmp_path, progress=False)
    whole = losses(tmp_path)
    assert len(whole) == 3 + 3 + 5
    shutil.rmtree(tmp_path / "checkpoints" / "phase-2-rgb-stage2-1")
    pretrain(config, store, tmp_path, progress=False)
    assert [line["step"] for line in read_lines(tmp_path / "restarts.jsonl")] == [0, 9]
    assert losses(tmp_path) == whole


def test_fork_continues_from_another_runs_phase_with_a_store_in_a_bucket(
    undisturbed: Path, store: Path, tmp_path: Path
) -> None:
    start = undisturbed / "checkpoints" / "phase-1-flow-stage1"
    with s3_server() as s3:
        s3.put_folder(store, "store")
        bucket = s3.address("store")
        pretrain(settings(schedule={"cross_stream": False}), bucket, tmp_path, start_from=start, progress=False)
        table = evaluate(tmp_path, bucket, progress=False)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [9, 10, 11, 12]
    assert {line["phase"] for line in lines} == {"rgb-stage2-1"}
    assert not any(b"secret" in file.read_bytes() for file in tmp_path.rglob("*.json*"))
    assert [row["key"] for row in table["rows"]][:2] == ["rgb-random", "flow-random"]
    assert "rgb-stage2-1" in {row["key"] for row in table["rows"]}


def test_damaged_shard_ends_the_run_and_is_named(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    for shard in (tmp_path / "store").glob("part-*.parquet"):
        rows = pq.read_table(shard).to_pylist()
        damaged = pa.Table.from_pylist([{**row, "rgb": [b"?"] * row["frames"]} for row in rows], schema=SCHEMA)
        pq.write_table(damaged, shard, row_group_size=1, compression="none", use_dictionary=False)
    with pytest.raises(UserError, match=r"^part-\d+\.parquet of the clip store is damaged .* remove that file"):
        pretrain(settings(), tmp_path / "store", tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": {"num_prototypes": 5}}, r"other settings \(method\.num_prototypes: 4 -> 5\)"),
        (
            {"train": {"global_batch_size": 32}, "method": {"queue_size": 0}},
            r"train\.global_batch_size: 32 given, but there are 16 training videos",
        ),
        ({"train": {"num_workers": 5}}, r"train\.num_workers: 5 workers given for a global batch of 4"),
        ({"method": {"queue_size": 6}}, r"method\.queue_size: 6 given"),
    ],
)
def test_impossible_settings_are_refused_by_name(
    undisturbed: Path, store: Path, change: dict[str, dict[str, Any]], message: str
) -> None:
    before = (undisturbed / "config.yaml").read_bytes()
    with pytest.raises(UserError, match=message):
        pretrain(settings(**change), store, undisturbed, progress=False)
    assert (undisturbed / "config.yaml").read_bytes() == before


def test_object_store_too_small_states_the_size_needed(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ray\.object_store_mb: too small for two batches .* set it to \d+ or more"):
        pretrain(settings(clip={"frames": 5000, "size": 32}), store, tmp_path, progress=False)


def test_unwritable_output_is_reported(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        pretrain(settings(), store, tmp_path / "file" / "run", progress=False)


def test_fork_without_a_checkpoint_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a checkpoint"):
        pretrain(settings(), store, tmp_path / "run", start_from=tmp_path, progress=False)
