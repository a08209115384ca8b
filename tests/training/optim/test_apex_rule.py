"""LARS over all parameters against apex's LARC around SGD (clip off), written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vicc_ray.config import OptimizerConfig
from vicc_ray.training.optim.build import build_optimizer

TRUST, DECAY, MOMENTUM, RATE = 0.001, 1e-2, 0.9, 0.6
SETTINGS = OptimizerConfig(
    lars_scope="all", learning_rate=RATE, weight_decay=DECAY, momentum=MOMENTUM, trust_coefficient=TRUST
)
SHAPES = {"conv": (6, 4, 3, 3, 3), "bias": (6,), "norm": (8,), "zero_bias": (5,), "no_gradient": (3,), "still": (4,)}
"""Tensors by name: ``zero_bias`` is 0 at the start, ``no_gradient`` has none, ``still`` has a gradient of 0."""


class Tensors(nn.Module):
    """Parameters of several shapes."""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(0)
        for name, shape in SHAPES.items():
            value = np.zeros(shape) if name == "zero_bias" else draw.normal(size=shape)
            self.register_parameter(name, nn.Parameter(torch.from_numpy(value.astype(np.float32))))


def gradients(step: int) -> dict[str, np.ndarray | None]:
    draw = np.random.default_rng(100 + step)
    drawn: dict[str, np.ndarray | None] = {name: draw.normal(size=shape) for name, shape in SHAPES.items()}
    return {**drawn, "no_gradient": None, "still": np.zeros(SHAPES["still"])}


def apex_larc_step(
    weight: np.ndarray, gradient: np.ndarray | None, velocity: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """One step of SGD in LARC: weight and momentum buffer, which SGD makes of the first gradient."""
    if gradient is None:
        return weight, velocity
    weight_norm, gradient_norm = np.linalg.norm(weight), np.linalg.norm(gradient)
    if weight_norm != 0 and gradient_norm != 0:
        adaptive = TRUST * weight_norm / (gradient_norm + weight_norm * DECAY + 1e-8)
        gradient = (gradient + DECAY * weight) * adaptive
    velocity = gradient if velocity is None else MOMENTUM * velocity + gradient
    return weight - RATE * velocity, velocity


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_over_all_parameters_are_those_of_apex(steps: int) -> None:
    module = Tensors()
    optimizer = build_optimizer([module], SETTINGS)
    expected = {name: p.detach().double().numpy().copy() for name, p in module.named_parameters()}
    velocities: dict[str, np.ndarray | None] = dict.fromkeys(SHAPES)
    for step in range(steps):
        for name, gradient in gradients(step).items():
            parameter = module.get_parameter(name)
            parameter.grad = None if gradient is None else torch.from_numpy(gradient.astype(np.float32))
            expected[name], velocities[name] = apex_larc_step(expected[name], gradient, velocities[name])
        optimizer.step()
    for name, value in expected.items():
        torch.testing.assert_close(
            module.get_parameter(name).detach().double(), torch.from_numpy(value), rtol=1e-5, atol=1e-7
        )
    assert (module.get_parameter("conv").detach().numpy() != Tensors().get_parameter("conv").detach().numpy()).any()


def test_by_default_biases_and_norms_have_neither_decay_nor_an_adaptive_rate() -> None:
    module = Tensors()
    optimizer = build_optimizer([module], SETTINGS.model_copy(update={"lars_scope": "weights"}))
    before = module.get_parameter("norm").detach().clone()
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(module.get_parameter("norm").detach(), before - RATE)
