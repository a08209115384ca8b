"""InfoNCE: each clip is matched with the other clip of its video among many candidates.

V views, b queries of each, N candidates, D embedding.
Source: van den Oord et al., arXiv 1807.03748; in this form He et al., MoCo, arXiv 1911.05722, equation 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def info_nce(queries: Tensor, candidates: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """InfoNCE loss: mean over queries of -log(exp(q k+ / temperature) / sum_k exp(q k / temperature)).

    Args:
        queries: [V, b, D] of unit norm, with gradient.
        candidates: [V, N, D] of unit norm, the keys k of each view, among them the positive k+ of each query.
        positives: int64 [b], index in N of each query's positive.
        temperature: softmax temperature, above 0.

    Returns:
        scalar in fp32; ln N for a uniform prediction.
    """
    logits = queries.float() @ candidates.float().transpose(1, 2) / temperature
    return cross_entropy(logits.flatten(0, 1), positives.repeat(len(queries)))


@torch.no_grad()
def matched(queries: Tensor, candidates: Tensor, positives: Tensor) -> Tensor:
    """Fraction of queries whose nearest candidate is their positive; arguments as of :func:`info_nce`."""
    nearest = (queries @ candidates.transpose(1, 2)).argmax(dim=2)
    return (nearest == positives).float().mean()
