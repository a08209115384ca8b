"""Prototypes: K unit vectors to which the views of one stream's turn are compared. B samples, D embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Prototypes(nn.Module):
    """K trainable directions; call :meth:`renormalise` before every step."""

    def __init__(self, count: int, embedding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, embedding))
        nn.init.normal_(self.weight)
        self.renormalise()

    @torch.no_grad()
    def renormalise(self) -> None:
        """Scale every prototype back to unit norm."""
        self.weight.copy_(normalize(self.weight, dim=1))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Cosine similarities [..., B, K] in fp32 of unit-norm embeddings [..., B, D]."""
        return embeddings.float() @ self.weight.float().T
