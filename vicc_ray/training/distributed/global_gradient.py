"""Gradient of the global batch, from the losses of its per-worker slices. W workers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from vicc_ray.training.distributed.collectives import all_reduce_sum_, rank


def backward(
    loss: Tensor, sizes: Sequence[int], optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of the global batch's loss, in ``parameters`` on every worker.

    Args:
        loss: mean over this worker's samples.
        sizes: number of samples of each worker.

    Returns:
        loss of the global batch, and L2 norm of its gradient over all parameters.
    """
    # Weighted before the backward pass: synchronized batch norm carries gradients from one worker's loss to the samples
    # of another.
    loss = loss * (sizes[rank()] / sum(sizes))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    total = loss.detach().clone()
    gradients = [p.grad for p in parameters if p.grad is not None]
    all_reduce_sum_([total, *gradients])
    return total, get_total_norm(gradients)
