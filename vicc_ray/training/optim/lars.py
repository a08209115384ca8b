"""LARS: layer-wise adaptive learning rates, with foreach kernels over each group.

Source: You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks, arXiv 1708.03888.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]
EPSILON = 1e-8
"""Keeps the ratio finite where gradient and decay are both near zero."""


class LARS(torch.optim.Optimizer):
    """SGD with momentum. In groups with ``adapt``, the gradient g of each tensor w is scaled before momentum by

        trust |w| / (|g| + weight_decay |w|)        with weight decay added to g.

    A tensor whose |w| or |g| is 0 gets neither decay nor scaling, as in NVIDIA's apex.

    Args:
        groups: parameter groups; each may set ``weight_decay``, ``adapt`` and any argument below.
        lr: learning rate.
        momentum: 0 to 1.
        trust: the trust coefficient.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float, trust: float) -> None:
        defaults = {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": 0.0, "adapt": True}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._update(weights, group)

    def _update(self, weights: Tensors, group: dict[str, Any]) -> None:
        gradients: Tensors = [p.grad for p in weights if p.grad is not None]
        if group["adapt"]:
            ratios = _ratios(weights, gradients, group["trust"], group["weight_decay"])
            gradients = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(gradients, ratios)
        velocities = [self._velocity(p) for p in weights]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients)
        torch._foreach_add_(weights, velocities, alpha=-group["lr"])

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        velocity: Tensor = state["momentum_buffer"]
        return velocity


def _ratios(weights: Tensors, gradients: Tensors, trust: float, decay: float) -> Tensors:
    w, g = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, gradients))
    ratios = trust * w / (g + decay * w + EPSILON)
    # Decay is in the gradients already: it is 0 where w is, and the ratio 0 removes it where the gradient was 0.
    return list(torch.where(w == 0, 1.0, torch.where(g == 0, 0.0, ratios)).unbind())
