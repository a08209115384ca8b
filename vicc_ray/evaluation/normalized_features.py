"""Features of videos, centered and of unit norm. N videos, F features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

TILE_ROWS = 8192
"""Rows converted at once: 32 MiB of 1,024 features."""


class NormalizedFeatures:
    """Features minus their mean, scaled to unit norm. Several streams lie side by side, so that dot products add up.

    The rows may be a memory-mapped file larger than the memory: only the rows asked for are read and converted.

    Args:
        streams: float32 or float16 [N, F] each, of the same N videos, in memory or memory-mapped; F may differ.
        like: features whose means are subtracted in place of these features' own.
    """

    def __init__(self, *streams: np.ndarray, like: NormalizedFeatures | None = None) -> None:
        self._streams = streams
        self._means: list[Tensor] = like._means if like else [_mean_of(features) for features in streams]

    def __len__(self) -> int:
        return len(self._streams[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all rows as float32."""
        return 4 * len(self) * sum(features.shape[1] for features in self._streams)

    def rows(self, start: int, stop: int, device: torch.device | None = None) -> Tensor:
        """Rows ``start`` to ``stop`` - 1, float32 [n, sum of F]."""
        parts = [_to_tensor(features[start:stop], device) for features in self._streams]
        for part, mean in zip(parts, self._means, strict=True):
            normalize(part.sub_(mean.to(part.device)), dim=1, out=part)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _mean_of(features: np.ndarray) -> Tensor:
    """Mean [F], float32, accumulated in float64 a tile at a time."""
    tiles = (_to_tensor(features[start : start + TILE_ROWS]) for start in range(0, len(features), TILE_ROWS))
    total = sum(
        (tile.sum(0, dtype=torch.float64) for tile in tiles), torch.zeros(features.shape[1], dtype=torch.float64)
    )
    return (total / len(features)).float()


def _to_tensor(rows: np.ndarray, device: torch.device | None = None) -> Tensor:
    # A copy: the caller changes it in place, and torch warns of read-only arrays such as memory-mapped files.
    return torch.from_numpy(np.array(rows)).to(device or "cpu").float()
