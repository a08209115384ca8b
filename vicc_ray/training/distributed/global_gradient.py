"""The gradient of a global batch out of the losses of its parts. W workers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from vicc_ray.training.distributed.collectives import all_reduce_sum_, rank


def backward(
    loss: Tensor, sizes: Sequence[int], optimiser: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Tensor]:
    """Leave the gradient of the global batch's loss with ``parameters`` on every worker.

    Args:
        loss: mean over this worker's samples.
        sizes: samples of every worker.

    Returns:
        the loss of the global batch, and the L2 norm of its gradient over all parameters.
    """
    # It is weighted before the backward pass and not after it, since synchronised batch norm carries gradients from one
    # worker's loss to another's samples.
    loss = loss * (sizes[rank()] / sum(sizes))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    total = loss.detach().clone()
    gradients = [p.grad for p in parameters if p.grad is not None]
    all_reduce_sum_([total, *gradients])
    return total, get_total_norm(gradients)
