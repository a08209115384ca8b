"""The baseline in the same loop: instances of one stream, keys by a network that follows."""

from __future__ import annotations

import math
from statistics import mean

import pytest
import torch
from pydantic import ValidationError

from tests.training.fixtures import BATCH, make_batch, small_config, started, steps
from vicc_ray.errors import UserError
from vicc_ray.method.moco import MoCoObjective
from vicc_ray.runs.checkpoint_state import model_tensors

ALONE = {"cross_stream": False}
CONFIG = small_config(method={"objective": "moco"}, schedule=ALONE)


@pytest.mark.parametrize("phase", ["rgb-stage1", "flow-stage1", "flow-stage2-1"])
def test_only_the_encoder_of_the_phase_is_trained_and_its_momentum_encoder_follows(phase: str) -> None:
    pretrainer = started(CONFIG, phase)
    before = {name: value.clone() for name, value in model_tensors(pretrainer).items()}
    steps(pretrainer, 3)
    after = model_tensors(pretrainer)
    stream = phase.split("-")[0]
    moved = {".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"{stream}.encoder"}
    name = "head.0.weight"
    keys = pretrainer.progress_tensors()[f"key_encoder.network.{name}"]
    start, end = (tensors[f"{stream}.encoder.{name}"] for tensors in (before, after))
    assert 0 < (keys - end).norm() < (start - end).norm()


def test_chance_loss_counts_the_batch_and_the_queue_as_candidates() -> None:
    pretrainer = started(CONFIG, "rgb-stage1")
    found = [pretrainer.step(make_batch(k), 0)["chance_loss"] for k in range(3)]
    assert found == pytest.approx([math.log(BATCH), math.log(BATCH), math.log(3 * BATCH)])


@pytest.mark.slow
def test_a_repeated_batch_is_learned() -> None:
    """Nearly every sample is told from the others, at a rate low enough that rounding does not decide when."""
    config = CONFIG.model_copy(
        update={
            "optimizer": CONFIG.optimizer.model_copy(update={"name": "adamw", "learning_rate": 1e-3}),
            "method": CONFIG.method.model_copy(update={"queue_size": 0}),
        }
    )
    pretrainer = started(config, "rgb-stage1")
    metrics = [pretrainer.step(make_batch(0), 0) for _ in range(50)]
    assert float(metrics[-1]["loss"]) < 0.5 * float(metrics[0]["loss"])
    assert mean(float(m["matched"]) for m in metrics[-5:]) > 6 / BATCH


def test_keys_do_not_leak_batch_statistics() -> None:
    pretrainer = started(CONFIG, "rgb-stage1")
    steps(pretrainer, 2)
    objective = pretrainer.objective
    assert isinstance(objective, MoCoObjective)
    x = torch.randn(4, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    network = objective.key_encoder.network
    with torch.no_grad():
        torch.testing.assert_close(network(x)[:1], network(x[:1]))


@pytest.mark.slow
def test_queue_and_momentum_encoder_resume_bit_exactly() -> None:
    undisturbed = started(CONFIG, "rgb-stage1")
    steps(undisturbed, 3)
    restored = started(CONFIG, "rgb-stage1")
    restored.encoders["rgb"].load_state_dict(undisturbed.encoders["rgb"].state_dict())
    restored.load_progress_tensors({name: value.clone() for name, value in undisturbed.progress_tensors().items()})
    restored.optimizer.load_state_dict(undisturbed.optimizer.state_dict())
    assert steps(restored, 2, first_seed=3) == steps(undisturbed, 2, first_seed=3)


def test_progress_of_the_other_objective_is_refused() -> None:
    prototypes = started(small_config(schedule=ALONE), "rgb-stage1")
    with pytest.raises(UserError, match="does not fit the configured method"):
        started(CONFIG, "rgb-stage1").load_progress_tensors(prototypes.progress_tensors())


def test_moco_across_streams_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"method\.objective: moco given with schedule\.cycles 1"):
        small_config(method={"objective": "moco"})
    assert small_config(method={"objective": "moco"}, schedule={"cycles": 0}).method.objective == "moco"
