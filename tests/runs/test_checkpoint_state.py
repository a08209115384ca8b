"""A checkpoint holds everything that a run needs to go on, and nothing that is pickled."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.training.fixtures import small_config, started, steps
from vicc_ray.errors import UserError
from vicc_ray.runs.async_checkpointer import AsyncCheckpointer
from vicc_ray.runs.checkpoint_manager import CheckpointManager
from vicc_ray.runs.checkpoint_state import (
    MODEL,
    load_encoder_tensors,
    load_model,
    load_progress,
    model_tensors,
    read_state,
    take_snapshot,
)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lars", "adamw"])
@pytest.mark.parametrize("phase", ["rgb-stage1", "rgb-stage2-1"])
def test_a_restored_run_continues_bit_exactly(tmp_path: Path, phase: str, optimizer: str) -> None:
    config = small_config(optimizer={"name": optimizer})
    undisturbed = started(config, phase)
    steps(undisturbed, 3)
    take_snapshot(undisturbed, 3, 0.75, config.model_dump(mode="json")).write(tmp_path)
    expected = steps(undisturbed, 3, first_seed=3)

    restored = started(config, phase)
    load_model(tmp_path, restored)
    load_progress(tmp_path, restored)
    assert steps(restored, 3, first_seed=3) == expected
    for name, value in model_tensors(undisturbed).items():
        assert torch.equal(value, model_tensors(restored)[name]), name


def test_position_and_settings_are_restored(tmp_path: Path) -> None:
    config = small_config()
    take_snapshot(started(config, "rgb-stage1"), 7, 2.25, config.model_dump(mode="json")).write(tmp_path)
    state = read_state(tmp_path)
    assert (state["step"], state["epoch"]) == (7, 2.25)
    assert state["settings"]["method"]["num_prototypes"] == 6
    encoder = started(config, "flow-stage1").encoders["flow"]
    encoder.load_state_dict(load_encoder_tensors(tmp_path, "flow"))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    take_snapshot(started(small_config(), "rgb-stage1"), 0, 0.0, {}).write(tmp_path)
    with pytest.raises(UserError, match="does not fit the configured model"):
        load_model(tmp_path, started(small_config(model={"embed_dim": 8}), "rgb-stage1"))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    take_snapshot(started(small_config(), "rgb-stage1"), 0, 0.0, {}).write(tmp_path)
    (tmp_path / MODEL).write_bytes(b"\x80\x04not weights")
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read"):
        load_model(tmp_path, started(small_config(), "rgb-stage1"))
    with pytest.raises(UserError, match="not a checkpoint"):
        read_state(tmp_path / "nowhere")


def test_a_snapshot_is_unaffected_by_later_steps() -> None:
    config = small_config()
    pretrainer = started(config, "rgb-stage1")
    steps(pretrainer, 1)
    snapshot = take_snapshot(pretrainer, 1, 0.25, {})
    before = {name: value.clone() for name, value in (snapshot.model | snapshot.progress).items()}
    steps(pretrainer, 2, first_seed=1)
    assert all(torch.equal(value, before[name]) for name, value in (snapshot.model | snapshot.progress).items())
    assert snapshot.size == sum(value.numel() * value.element_size() for value in before.values())


def test_the_async_checkpointer_logs_size_and_times_and_keeps_the_newest(tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    folder = CheckpointManager(tmp_path)
    writer = AsyncCheckpointer(folder, 2, told.append)
    pretrainer = started(small_config(), "rgb-stage1")
    for step in range(4):
        writer.save(partial(take_snapshot, pretrainer, step, 0.0, {}), folder.step(step), "a test")
    writer.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.step(2), folder.step(3)]
    assert [(line["step"], line["why"]) for line in told] == [(step, "a test") for step in range(4)]
    on_disk = sum(file.stat().st_size for file in (tmp_path / folder.step(3)).glob("*.safetensors")) / 1e6
    assert on_disk == pytest.approx(float(str(told[-1]["mb"])), rel=0.1)
    assert all(float(str(line[key])) >= 0 for line in told for key in ("copy_ms", "write_ms"))


def test_a_write_error_is_raised_at_the_next_save(tmp_path: Path) -> None:
    writer = AsyncCheckpointer(CheckpointManager(tmp_path / "file"), 2, lambda _: None)
    (tmp_path / "file").write_text("")
    take = partial(take_snapshot, started(small_config(), "rgb-stage1"), 1, 0.0, {})
    writer.save(take, "step-00000001", "a test")
    with pytest.raises(OSError, match="file"):
        writer.save(take, "step-00000002", "a test")
