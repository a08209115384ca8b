"""What the optimisers do with decay, and with state out of a checkpoint."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from vicc_ray.config import OptimiserConfig
from vicc_ray.training.optimiser import build_optimiser


def layer() -> nn.Conv3d:
    torch.manual_seed(0)
    return nn.Conv3d(4, 6, 3).to(memory_format=torch.channels_last_3d)


def step(module: nn.Conv3d, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    module(torch.randn(2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    optimiser.step()


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_only_weights_decay(name: str) -> None:
    module = layer()
    optimiser = build_optimiser([module], OptimiserConfig(name=name, learning_rate=0.1, weight_decay=0.5))
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    assert torch.equal(module.bias, before["bias"])
    assert (module.weight.abs() < before["weight"].abs()).all()


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_loaded_state_lies_in_memory_as_its_parameter_and_goes_on_alike(name: str) -> None:
    settings = OptimiserConfig(name=name, learning_rate=0.1)
    modules = layer(), layer()
    first, second = (build_optimiser([module], settings) for module in modules)
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
    for module, optimiser in zip(modules, (first, second), strict=True):
        step(module, optimiser)
    assert torch.equal(modules[0].weight, modules[1].weight)
