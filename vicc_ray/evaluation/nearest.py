"""Exact nearest neighbours by dot product in bounded memory, on a GPU where there is one.

Nq queries, Ng gallery, F features, k neighbours. The gallery is read once, a tile of rows at a time, so it may be a
memory-mapped file larger than the memory; what is held at once is a tile, a block of similarities and the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

TILE = 16384
"""Gallery rows at once: 64 MiB of 1,024 features."""
BLOCK = 2048
"""Queries at once; with a tile, 128 MiB of similarities. They lie in the same memory throughout: to take new memory for
each block took a quarter of the time of its product."""
GROUP = 64
"""Neighbouring gallery rows of which the best stands for all: the k best rows lie in the k best groups, so that only
these are looked at one by one. To sort all similarities would take as long as to compute them."""


@dataclass(frozen=True)
class Exclusion:
    """Pairs that are no neighbours: equal integers, int64 [Nq] and [Ng]."""

    queries: Tensor
    gallery: Tensor


class CentredUnit:
    """Features, centred on their mean and of unit norm; of several streams side by side, so that dot products add up.

    Args:
        streams: float32 or float16 [N, F] each, of the same N videos, in memory or memory-mapped; F may differ.
    """

    def __init__(self, *streams: np.ndarray) -> None:
        self._streams, self._means = streams, [_mean_of(features) for features in streams]

    def __len__(self) -> int:
        return len(self._streams[0])

    def rows(self, start: int, stop: int, device: torch.device | None = None) -> Tensor:
        """Some of the videos, float32 [n, sum of F]."""
        parts = [_tensor(features[start:stop], device) for features in self._streams]
        for part, mean in zip(parts, self._means, strict=True):
            normalize(part.sub_(mean.to(part.device)), dim=1, out=part)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def nearest(
    queries: Tensor,
    gallery: CentredUnit,
    k: int,
    exclusion: Exclusion | None = None,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """The k gallery videos of largest dot product with each query.

    Args:
        queries: float32 [Nq, F].
        device: where to compare; by default a GPU if there is one.

    Returns:
        similarity float32 [Nq, min(k, Ng)], largest first, and gallery row int64, on the host; -inf and -1 where the
        exclusion leaves no further row.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    k, blocks = min(k, len(gallery)), queries.to(device).split(BLOCK)
    best = [Best.none(len(block), k, device) for block in blocks]
    room = torch.empty(min(BLOCK, len(queries)) * min(TILE, len(gallery)), device=device)
    for start in range(0, len(gallery), TILE):
        tile = gallery.rows(start, start + TILE, device)
        for n, block in enumerate(blocks):
            similarity = room[: len(block) * len(tile)].view(len(block), len(tile))
            _products(block, tile, similarity)
            if exclusion is not None:
                own = exclusion.queries[n * BLOCK : n * BLOCK + len(block)].to(device)
                theirs = exclusion.gallery[start : start + len(tile)].to(device)
                similarity.masked_fill_(own[:, None] == theirs[None], -torch.inf)
            best[n].take(similarity, start)
    return torch.cat([b.values for b in best]).cpu(), torch.cat([b.rows for b in best]).cpu()


@dataclass
class Best:
    """The best so far of a block of queries: ``values`` [n, k], largest first, and ``rows`` [n, k]."""

    values: Tensor
    rows: Tensor

    @classmethod
    def none(cls, count: int, k: int, device: torch.device) -> Best:
        """Nothing yet."""
        return cls(
            torch.full((count, k), -torch.inf, device=device),
            torch.full((count, k), -1, dtype=torch.int64, device=device),
        )

    def take(self, similarity: Tensor, first_row: int) -> None:
        """Merge the similarities [n, m] of gallery rows ``first_row`` and on."""
        values, columns = self._candidates(similarity)
        if not values.shape[1]:
            return
        rows = torch.where(values > -torch.inf, columns + first_row, -1)
        self.values, places = torch.cat([self.values, values], 1).topk(self.values.shape[1])
        self.rows = torch.cat([self.rows, rows], 1).gather(1, places)

    def _candidates(self, similarity: Tensor) -> tuple[Tensor, Tensor]:
        """Values and columns that hold all which are better than the worst of the best so far."""
        n, m = similarity.shape
        grouped = similarity[:, : m - m % GROUP].unflatten(1, (-1, GROUP))
        highest = grouped.amax(2)
        better = int((highest > self.values[:, -1:]).sum(1).max()) if highest.numel() else 0
        groups = highest.topk(min(better, self.values.shape[1])).indices  # [n, g]
        values = grouped.gather(1, groups[:, :, None].expand(-1, -1, GROUP)).flatten(1)
        columns = (groups[:, :, None] * GROUP + torch.arange(GROUP, device=groups.device)).flatten(1)
        rest = torch.arange(m - m % GROUP, m, device=groups.device).expand(n, -1)
        values, columns = torch.cat([values, similarity[:, m - m % GROUP :]], 1), torch.cat([columns, rest], 1)
        values, places = values.topk(min(self.values.shape[1], values.shape[1]))
        return values, columns.gather(1, places)


def _products(queries: Tensor, gallery: Tensor, out: Tensor) -> None:
    """Dot products of queries [n, F] with gallery [m, F], into ``out`` [n, m].

    On CPUs by numpy: its OpenBLAS took two thirds of the time of torch's MKL on a processor of AMD
    (``benchmarks/retrieval.json``).
    """
    if out.device.type == "cpu":
        np.matmul(queries.numpy(), gallery.numpy().T, out=out.numpy())
    else:
        torch.mm(queries, gallery.T, out=out)


def _mean_of(features: np.ndarray) -> Tensor:
    """Mean [F], float32, added up in float64 a tile at a time."""
    tiles = (_tensor(features[start : start + TILE]) for start in range(0, len(features), TILE))
    total = sum(
        (tile.sum(0, dtype=torch.float64) for tile in tiles), torch.zeros(features.shape[1], dtype=torch.float64)
    )
    return (total / len(features)).float()


def _tensor(rows: np.ndarray, device: torch.device | None = None) -> Tensor:
    # Copied, as the caller changes it, and as torch warns of a memory-mapped file, which is read-only.
    return torch.from_numpy(np.array(rows)).to(device or "cpu").float()


def codes(names: Sequence[np.ndarray], unknown: Sequence[int]) -> list[Tensor]:
    """Equal names as equal integers of 0 and above; the empty name becomes the ``unknown`` of its array."""
    distinct, numbers = np.unique(np.concatenate(names), return_inverse=True)
    parts = np.split(numbers.reshape(-1), np.cumsum([len(part) for part in names])[:-1])
    return [
        torch.from_numpy(np.where(distinct[part] == "", nobody, part))
        for part, nobody in zip(parts, unknown, strict=True)
    ]
