"""Sinkhorn-Knopp: soft assignments of samples to prototypes, with equal total weight on every prototype.

B samples (of all workers, with the queue), K prototypes.
Source: Cuturi, Sinkhorn Distances, 2013; Caron et al., SwAV, 2020, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignments from scores.

    Computed on logarithms in fp32, so that no epsilon overflows or divides by zero.

    Args:
        scores: [..., B, K], cosine similarities in -1 to 1.
        epsilon: entropy regularization, above 0; smaller values give harder assignments.
        iterations: alternating column and row normalizations, at least 1.

    Returns:
        [..., B, K] fp32; each row sums to 1, each column to nearly B / K.
    """
    log_q = scores.float() / epsilon
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(dim=-2, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=-1, keepdim=True)
    return log_q.exp()
