"""Settings that make a step faster or smaller change nothing of what it computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.fixtures import make_batch, small_config, started, steps
from vicc_ray.runs.checkpoint_state import model_tensors
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.precision import mixed_precision
from vicc_ray.training.tasks.pretrainer import Pretrainer

PHASE = "rgb-stage2-1"


def trained(**train: Any) -> dict[str, Tensor]:
    """Losses and all weights and statistics after three steps."""
    pretrainer = started(small_config(train=train), PHASE)
    losses = torch.tensor(steps(pretrainer, 3))
    return {"losses": losses, **{name: value.clone() for name, value in model_tensors(pretrainer).items()}}


@pytest.fixture(scope="module")
def usual() -> dict[str, Tensor]:
    return trained()


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"activation_checkpointing": True}, {"channels_last": False}])
def test_losses_weights_and_statistics_stay_the_same(change: dict[str, bool], usual: dict[str, Tensor]) -> None:
    for name, value in trained(**change).items():
        torch.testing.assert_close(value, usual[name], atol=5e-5, rtol=1e-5, msg=f"{name} differs")


@pytest.mark.slow
def test_a_repeated_run_is_equal_to_the_bit(usual: dict[str, Tensor]) -> None:
    for settings in ({}, {"deterministic": True}):
        for name, value in trained(**settings).items():
            assert torch.equal(value, usual[name]), name
    torch.use_deterministic_algorithms(False)


def test_half_precision_is_of_the_networks_alone(usual: dict[str, Tensor]) -> None:
    pretrainer = started(small_config(train={"precision": "bf16"}), PHASE)
    loss = pretrainer.step(make_batch(0), pretrainer.phase.first_epoch)["loss"]
    assert isinstance(loss, Tensor)
    assert loss.dtype == pretrainer.last_embeddings.dtype == torch.float32
    assert 0 < abs(float(loss) - float(usual["losses"][0])) < 0.05
    norms = pretrainer.last_embeddings.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-6, rtol=0)
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in pretrainer.parameters if p.grad is not None)


def test_half_precision_is_chosen_where_it_pays() -> None:
    train = small_config().train
    assert not mixed_precision(train, torch.device("cpu"))
    assert mixed_precision(train.model_copy(update={"precision": "bf16"}), torch.device("cpu"))


def test_fewer_activations_are_kept_with_checkpointing() -> None:
    kept = {}
    for on in (False, True):
        pretrainer = started(small_config(train={"activation_checkpointing": on}), "rgb-stage1")
        total = [0]

        def count(value: Tensor, total: list[int] = total) -> Tensor:
            total[0] += value.nbytes
            return value

        x = torch.randn(2, 3, 8, 32, 32)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
            pretrainer.encoders["rgb"](x)
        kept[on] = total[0]
    assert kept[True] < 0.5 * kept[False]


def test_two_ways_of_computing_again_are_refused() -> None:
    with pytest.raises(ValidationError, match="train.compile true, which chooses by itself"):
        small_config(train={"compile": True, "activation_checkpointing": True})


class Waits(TorchDispatchMode):
    """Copies to the device that the host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        devices = {a.device.type for a in args if isinstance(a, Tensor)} | {str(kwargs.get("device") or "cpu")}
        blocking = not (kwargs.get("non_blocking") or (args and args[-1] is True))
        if "meta" in devices and "cpu" in devices and "copy" in str(func) and _crosses(args, kwargs) and blocking:
            self.found.append(str(func))
        return func(*args, **kwargs)


def _crosses(args: Any, kwargs: Any) -> bool:
    source = next(a for a in reversed(args) if isinstance(a, Tensor))
    target = kwargs.get("device") or args[0].device
    return bool(torch.device(target).type != source.device.type)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "optimizer", "contrast"),
    [
        ("rgb-stage1", "lars", "vicc"),
        ("rgb-stage2-1", "adamw", "vicc"),
        ("flow-stage2-1", "lars", "vicc"),
        ("rgb-stage1", "lars", "moco"),
    ],
)
def test_a_step_never_waits_for_the_device(phase: str, optimizer: str, contrast: str) -> None:
    """On the meta device, which has shapes and no values: a step that looked at one would fail."""
    cross = {"cross_stream": contrast == "vicc"}
    config = small_config(optimizer={"name": optimizer}, method={"objective": contrast}, schedule=cross)
    pretrainer = Pretrainer(config, torch.device("meta"))
    pretrainer.start_phase(next(t for t in build_phases(config.schedule) if t.name == phase))
    for k in range(3):  # the queue comes in with the third
        waits = Waits()
        with waits:
            metrics = pretrainer.step(make_batch(k), pretrainer.phase.first_epoch + k / 10)
        assert not waits.found or k == 0  # constants are brought to the device once
    assert all(value.device.type == "meta" for value in metrics.values() if isinstance(value, Tensor))
