"""Momentum encoder: a slowly moving average of a network, so that keys of many steps stay comparable.

Source: He et al., MoCo, arXiv 1911.05722, equation 2.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class MomentumEncoder(nn.Module, Generic[Network]):
    """Exponential moving average of a network's weights and batch-norm statistics, without gradient, in eval mode.

    MoCo normalizes keys by the statistics of their own batch and shuffles them over GPUs, because a query could
    recognize its key by shared statistics. That needs several GPUs and makes the loss depend on their number.
    Averaged statistics (Cai et al., EMAN, arXiv 2101.08482) leak nothing, on one worker as on many.

    Args:
        network: takes the weights of the source network at the first :meth:`update`.
        momentum: weight of the old value, after 1 / (1 - momentum) steps. Until then all steps weigh equally, or the
            initial statistics of a fresh network would last for a thousand steps.
    """

    def __init__(self, network: Network, momentum: float) -> None:
        super().__init__()
        self.network: Network = network.requires_grad_(False).eval()
        self.momentum = momentum
        self.steps = 0

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move towards ``source``: k <- m k + (1 - m) q, for weights and running statistics."""
        weight = 1 - min(self.momentum, self.steps / (self.steps + 1))
        self.steps += 1
        averages, values = ([*module.parameters(), *module.buffers()] for module in (self.network, source))
        pairs = list(zip(averages, values, strict=True))
        floating = [(k, q) for k, q in pairs if k.is_floating_point()]
        torch._foreach_lerp_([k for k, _ in floating], [q for _, q in floating], weight)
        for k, q in pairs:
            if not k.is_floating_point():  # counts
                k.copy_(q)

    def get_extra_state(self) -> Tensor:
        """Number of updates, for the state dict."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of updates."""
        self.steps = int(state)
