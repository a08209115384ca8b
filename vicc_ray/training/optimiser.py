"""Optimisers by name, with weight decay on weights only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vicc_ray.config import OptimiserConfig


def build_optimiser(modules: Iterable[nn.Module], settings: OptimiserConfig) -> torch.optim.Optimizer:
    """Optimiser over all parameters of ``modules``; one-dimensional ones (biases, norms) get no decay.

    Both kinds move all parameters together, in as many kernels as one parameter alone would need. lars is SGD with
    momentum under layer-wise adaptive rates (You et al., 2017), which also leaves one-dimensional parameters unscaled.
    """
    parameters = [p for module in modules for p in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.name == "adamw":
        optimiser: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, foreach=True)
    else:
        from timm.optim import Lars  # not above: it imports torchvision, which takes as long to import as torch itself

        rates = {"lr": settings.learning_rate, "momentum": settings.momentum, "trust_coeff": settings.trust}
        optimiser = Lars(groups, **rates, foreach=True)
    optimiser.register_load_state_dict_post_hook(_lay_out_as_parameters)
    return optimiser


@torch.no_grad()
def _lay_out_as_parameters(optimiser: torch.optim.Optimizer) -> None:
    """Give loaded state the memory layout of its parameter: a checkpoint has one layout, and only tensors that are laid
    out alike are moved together.
    """
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)
