"""Optimisers by name, with weight decay on weights only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from vicc_ray.config import OptimiserConfig


def build_optimiser(modules: Iterable[nn.Module], settings: OptimiserConfig) -> torch.optim.Optimizer:
    """Optimiser over all parameters of ``modules``; one-dimensional ones (biases, norms) get no decay.

    lars is SGD with momentum under layer-wise adaptive rates (You et al., 2017), which also leaves one-dimensional
    parameters unscaled.
    """
    parameters = [p for module in modules for p in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    from timm.optim import Lars  # not above: timm imports torchvision, which takes as long to import as torch itself

    return Lars(groups, lr=settings.learning_rate, momentum=settings.momentum, trust_coeff=settings.trust)
