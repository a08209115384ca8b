"""A network that follows another one slowly, so that keys made many steps apart stay comparable.

Source: He et al., MoCo, arXiv 1911.05722, equation 2.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class MomentumEncoder(nn.Module, Generic[Network]):
    """The running average of a network's weights and of its batch-norm statistics; never trained, in eval mode.

    MoCo's keys are normalised by the statistics of their own batch, shuffled over the GPUs, since a query could tell
    its key by the statistics that they share. That needs several GPUs, and the loss depends on their number. Averaged
    statistics (Cai et al., EMAN, arXiv 2101.08482) tell nothing of the batch, on one worker as on many.

    Args:
        network: takes the weights of the one that is followed at the first :meth:`follow`.
        momentum: share of the old value in each new one, once 1 / (1 - momentum) steps were made. Before, all steps so
            far weigh alike: otherwise the statistics that a fresh network starts with would stay for a thousand steps.
    """

    def __init__(self, network: Network, momentum: float) -> None:
        super().__init__()
        self.network: Network = network.requires_grad_(False).eval()
        self.momentum = momentum
        self.steps = 0

    @torch.no_grad()
    def follow(self, other: nn.Module) -> None:
        """Move towards ``other``: k <- m k + (1 - m) q, for weights and running statistics."""
        weight = 1 - min(self.momentum, self.steps / (self.steps + 1))
        self.steps += 1
        own, theirs = ([*module.parameters(), *module.buffers()] for module in (self.network, other))
        pairs = list(zip(own, theirs, strict=True))
        averaged = [(k, q) for k, q in pairs if k.is_floating_point()]
        torch._foreach_lerp_([k for k, _ in averaged], [q for _, q in averaged], weight)
        for k, q in pairs:
            if not k.is_floating_point():  # counts
                k.copy_(q)

    def get_extra_state(self) -> Tensor:
        """Steps made, for the state dict."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up the count of a state dict."""
        self.steps = int(state)
