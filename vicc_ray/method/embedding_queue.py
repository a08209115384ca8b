"""Queue of embeddings from earlier steps, one for each view. A views, B global batch, Q rows, D embedding.

Every worker holds the whole queue. It is small (Q x D), all workers push the same gathered embeddings, and a run
resumes with another number of workers without resharding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EmbeddingQueue(nn.Module):
    """First-in, first-out queue, used only once it is full.

    Args:
        views: A.
        length: Q, summed over workers; a multiple of the global batch.
        embedding: D.
    """

    rows: Tensor
    filled: Tensor

    def __init__(self, views: int, length: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(views, length, embedding))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self._filled = 0

    @property
    def length(self) -> int:
        """Q."""
        return self.rows.shape[1]

    @property
    def count(self) -> int:
        """Number of rows pushed, up to Q; known on the host, without waiting for the device."""
        return self._filled

    @property
    def ready(self) -> bool:
        """Whether the queue is full."""
        return self.length > 0 and self.count >= self.length

    @torch.no_grad()
    def push(self, embeddings: Tensor) -> None:
        """Push the gathered embeddings [A, B, D] of one step; the oldest B rows drop out."""
        size = embeddings.shape[1]
        self.rows.copy_(torch.cat([embeddings.to(self.rows.dtype), self.rows[:, : self.length - size]], dim=1))
        self._filled = min(self._filled + size, self.length)
        self.filled.fill_(self._filled)

    def clear(self) -> None:
        """Empty the queue: at the start of a phase its rows come from other encoders."""
        self.rows.zero_()
        self.filled.zero_()
        self._filled = 0

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._filled = int(self.filled)
