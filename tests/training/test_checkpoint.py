"""A checkpoint holds everything that a run needs to go on, and nothing that is pickled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.fixtures import small_config, started, steps
from vicc_ray.errors import UserError
from vicc_ray.training.checkpoint import (
    MODEL,
    load_encoder_tensors,
    load_model,
    load_progress,
    model_tensors,
    read_state,
    save,
)


@pytest.mark.parametrize("optimiser", ["lars", "adamw"])
@pytest.mark.parametrize("turn", ["rgb-stage1", "rgb-stage2-1"])
def test_a_restored_run_goes_on_to_the_bit(tmp_path: Path, turn: str, optimiser: str) -> None:
    config = small_config(optimiser={"name": optimiser})
    undisturbed = started(config, turn)
    steps(undisturbed, 3)
    save(tmp_path, undisturbed, 3, 0.75, config.model_dump(mode="json"))
    expected = steps(undisturbed, 3, first_seed=3)

    restored = started(config, turn)
    load_model(tmp_path, restored)
    load_progress(tmp_path, restored)
    assert steps(restored, 3, first_seed=3) == expected
    for name, value in model_tensors(undisturbed).items():
        assert torch.equal(value, model_tensors(restored)[name]), name


def test_position_and_settings_come_back(tmp_path: Path) -> None:
    config = small_config()
    save(tmp_path, started(config, "rgb-stage1"), 7, 2.25, config.model_dump(mode="json"))
    state = read_state(tmp_path)
    assert (state["step"], state["epoch"]) == (7, 2.25)
    assert state["settings"]["method"]["prototypes"] == 6
    encoder = started(config, "flow-stage1").encoders["flow"]
    encoder.load_state_dict(load_encoder_tensors(tmp_path, "flow"))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save(tmp_path, started(small_config(), "rgb-stage1"), 0, 0.0, {})
    with pytest.raises(UserError, match="does not fit the configured model"):
        load_model(tmp_path, started(small_config(model={"embedding": 8}), "rgb-stage1"))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    save(tmp_path, started(small_config(), "rgb-stage1"), 0, 0.0, {})
    (tmp_path / MODEL).write_bytes(b"\x80\x04not weights")
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read"):
        load_model(tmp_path, started(small_config(), "rgb-stage1"))
    with pytest.raises(UserError, match="not a checkpoint"):
        read_state(tmp_path / "nowhere")
