"""Optimizers by name, with their parameter groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vicc_ray.config import ClassifyConfig, OptimizerConfig
from vicc_ray.training.optim.lars import LARS


def build_optimizer(modules: Iterable[nn.Module], settings: OptimizerConfig) -> torch.optim.Optimizer:
    """Optimizer over all parameters of ``modules``.

    Biases and norms get no decay and, in LARS, no adaptive rate, unless ``lars_scope`` is all.
    Both optimizers use foreach kernels: as many launches for all parameters as for one.
    """
    weights, rest = _groups(modules, settings.weight_decay)
    optimizer: torch.optim.Optimizer
    if settings.name == "adamw":
        optimizer = torch.optim.AdamW([weights, rest], lr=settings.learning_rate, foreach=True)
    else:
        if settings.lars_scope == "all":
            rest["weight_decay"] = settings.weight_decay
        groups = [{**weights, "adapt": True}, {**rest, "adapt": settings.lars_scope == "all"}]
        optimizer = LARS(groups, settings.learning_rate, settings.momentum, settings.trust_coefficient)
    optimizer.register_load_state_dict_post_hook(_lay_out_as_parameters)
    return optimizer


def build_classifier_optimizer(
    parts: Iterable[tuple[nn.Module, float]], settings: ClassifyConfig
) -> torch.optim.Optimizer:
    """Optimizer over modules with different learning rates: each group has its multiplier as ``lr_mult``.

    Args:
        parts: modules with their multipliers.
    """
    groups = []
    for module, lr_mult in parts:
        weights, rest = _groups([module], settings.weight_decay)
        if settings.decay_scope == "all":
            rest["weight_decay"] = settings.weight_decay
        groups += [{**group, "lr_mult": lr_mult} for group in (weights, rest) if group["params"]]
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=settings.momentum, foreach=True)
    else:
        optimizer = torch.optim.AdamW(groups, foreach=True)
    optimizer.register_load_state_dict_post_hook(_lay_out_as_parameters)
    return optimizer


def _groups(modules: Iterable[nn.Module], weight_decay: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameter groups: weights, and biases and norms, which get no decay."""
    parameters = [p for module in modules for p in module.parameters()]
    weights = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    return weights, {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}


@torch.no_grad()
def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded state the memory layout of its parameter, since foreach kernels need equal layouts."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)
