"""Prototypes: K trainable unit vectors that embeddings are compared with. B samples, D embedding."""

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
        """Resize to the number of loaded prototypes: a later stage of a run may have another number than the first."""
        loaded = state_dict.get(f"{prefix}weight")
        # With an equal number the parameter object stays: an optimizer may hold it.
        if loaded is not None and len(loaded) != self.count and loaded.shape[1:] == self.weight.shape[1:]:
            self.weight = nn.Parameter(torch.empty_like(loaded, device=self.weight.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def normalize_weights(self) -> None:
        """Scale every prototype to unit norm."""
        self.weight.copy_(normalize(self.weight, dim=1))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Cosine similarities [..., B, K] in fp32 of unit-norm embeddings [..., B, D]."""
        return embeddings.float() @ self.weight.float().T
