"""Cross-view loss: each assignment is predicted from all other views.

V views, A assigned views, B samples, K prototypes.
Source: Toering et al., ViCC, 2021 (arXiv 2106.10137), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cross_view_loss(scores: Tensor, assignments: Tensor, assigned_views: list[int], temperature: float) -> Tensor:
    """Mean cross-entropy between assignments and the predictions of the other views.

    Args:
        scores: [V, B, K], similarities to the prototypes, with gradient.
        assignments: [A, B, K], soft assignments of the assigned views, rows sum to 1.
        assigned_views: A indices into V.
        temperature: softmax temperature, above 0.

    Returns:
        scalar in fp32: mean over samples, then over the other views, then over the assigned views.
    """
    views, samples, _ = scores.shape
    log_p = torch.log_softmax(scores.float() / temperature, dim=-1)
    pairs = -torch.einsum("abk,vbk->av", assignments, log_p) / samples
    own = torch.stack([pairs[a, v] for a, v in enumerate(assigned_views)])
    return (pairs.sum() - own.sum()) / (len(assigned_views) * (views - 1))
