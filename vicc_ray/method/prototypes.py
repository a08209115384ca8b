"""Prototypes: K unit vectors to which the views of one stream's phase are compared. B samples, D embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Prototypes(nn.Module):
    """K trainable directions; call :meth:`normalize_weights` before every step."""

    def __init__(self, count: int, embedding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, embedding))
        nn.init.normal_(self.weight)
        self.normalize_weights()

    @property
    def count(self) -> int:
        """K."""
        return self.weight.shape[0]

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        """Take as many prototypes as there are: a later stage of a run may have more or fewer than its beginning."""
        given = state_dict.get(f"{prefix}weight")
        # Where the number is the same the parameter stays what it is: an optimiser may hold it.
        if given is not None and len(given) != self.count and given.shape[1:] == self.weight.shape[1:]:
            self.weight = nn.Parameter(torch.empty_like(given, device=self.weight.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def normalize_weights(self) -> None:
        """Scale every prototype back to unit norm."""
        self.weight.copy_(normalize(self.weight, dim=1))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Cosine similarities [..., B, K] in fp32 of unit-norm embeddings [..., B, D]."""
        return embeddings.float() @ self.weight.float().T
