"""What the optimizers do with decay, with layers of zeros, and with state out of a checkpoint."""

from __future__ import annotations

from copy import deepcopy

import pytest
import timm.optim
import torch
from torch import nn

from vicc_ray.config import OptimizerConfig
from vicc_ray.training.optim.build import build_optimizer
from vicc_ray.training.optim.lars import LARS


def layer() -> nn.Conv3d:
    torch.manual_seed(0)
    return nn.Conv3d(4, 6, 3).to(memory_format=torch.channels_last_3d)


def step(module: nn.Conv3d, optimizer: torch.optim.Optimizer, seed: int = 1) -> None:
    optimizer.zero_grad()
    module(torch.randn(2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_only_weights_decay(name: str) -> None:
    module = layer()
    optimizer = build_optimizer([module], OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5))
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.full_like(p, 1e-12 if name == "lars" else 0.0)  # LARS leaves a tensor without gradient alone
    optimizer.step()
    assert torch.equal(module.bias, before["bias"])
    assert (module.weight.abs() < before["weight"].abs()).all()


@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_lars_does_what_timm_does_one_parameter_at_a_time(decay: float) -> None:
    own, theirs = layer(), layer()
    nn.init.zeros_(own.bias), nn.init.zeros_(theirs.bias)
    rates = {"lr": 0.5, "momentum": 0.9}
    first = LARS([{"params": own.parameters(), "weight_decay": decay}], **rates, trust=0.01)
    second = timm.optim.Lars(
        theirs.parameters(), **rates, weight_decay=decay, trust_coeff=0.01, always_adapt=True, foreach=False
    )
    for seed in range(5):
        step(own, first, seed)
        step(theirs, second, seed)
        torch.testing.assert_close(own.weight, theirs.weight, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(own.bias, theirs.bias, atol=1e-6, rtol=1e-6)


def test_lars_moves_weights_by_a_share_of_their_norm_whatever_the_size_of_the_gradient() -> None:
    moved = []
    for size in (1e-3, 1e3):
        module = layer()
        before = module.weight.detach().clone()
        optimizer = build_optimizer(
            [module], OptimizerConfig(learning_rate=1.0, weight_decay=0.0, trust_coefficient=0.01)
        )
        for p in module.parameters():
            p.grad = torch.full_like(p, size)
        optimizer.step()
        moved.append(float((module.weight.detach() - before).norm() / before.norm()))
        assert torch.allclose(module.bias, layer().bias - size)
    assert moved == pytest.approx([0.01, 0.01], rel=1e-3)


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_loaded_state_lies_in_memory_as_its_parameter_and_goes_on_alike(name: str) -> None:
    settings = OptimizerConfig(name=name, learning_rate=0.1)
    modules = layer(), layer()
    first, second = (build_optimizer([module], settings) for module in modules)
    for _ in range(2):
        step(modules[0], first)
    saved = deepcopy(first.state_dict())
    for state in saved["state"].values():
        for key, value in state.items():
            state[key] = value.contiguous()
    second.load_state_dict(saved)
    modules[1].load_state_dict(modules[0].state_dict())
    for parameter, state in second.state.items():
        assert all(v.stride() == parameter.stride() for v in state.values() if v.shape == parameter.shape)
    for module, optimizer in zip(modules, (first, second), strict=True):
        step(module, optimizer)
    assert torch.equal(modules[0].weight, modules[1].weight)
