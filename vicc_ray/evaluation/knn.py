"""Exact nearest neighbours by dot product in bounded memory, on a GPU where there is one.

Nq queries, Ng gallery, F features, k neighbours. The gallery is read once, a tile of rows at a time, so it may be a
memory-mapped file larger than the memory; what is held at once is a tile, a block of similarities and the queries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import normalize

TILE = 8192
"""Gallery rows at once: 32 MiB of 1,024 features."""
BLOCK = 1024
"""Queries at once at most; with a tile, 32 MiB of similarities. They lie in the same memory throughout: to take new
memory for each block took a quarter of the time of its product."""
GROUP = 32
"""Neighbouring gallery rows of which the best stands for all: where it is not among the k best, none is. To sort all
similarities would take as long as to compute them."""


@dataclass(frozen=True)
class Exclusion:
    """Pairs that are no neighbours: equal integers, int64 [Nq] and [Ng]."""

    queries: Tensor
    gallery: Tensor


class NormalizedFeatures:
    """Features, centred on their mean and of unit norm; of several streams side by side, so that dot products add up.

    Args:
        streams: float32 or float16 [N, F] each, of the same N videos, in memory or memory-mapped; F may differ.
        like: others whose means are taken in place of their own.
    """

    def __init__(self, *streams: np.ndarray, like: NormalizedFeatures | None = None) -> None:
        self._streams = streams
        self._means: list[Tensor] = like._means if like else [_mean_of(features) for features in streams]

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
    gallery: NormalizedFeatures,
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
    k, cores = min(k, len(gallery)), torch.get_num_threads() if device.type == "cpu" else 1
    rounds = max(1, -(-len(queries) // (cores * BLOCK)))  # blocks of one size, as many for each core
    size = max(1, -(-len(queries) // (cores * rounds)))
    blocks = queries.to(device).split(size)
    best = [Best.none(len(block), k, device) for block in blocks]
    comparing = _Comparing(blocks, best, exclusion, ScratchBuffer(size * min(TILE, len(gallery)), device))
    with _threads(cores) as each:
        for start in range(0, len(gallery), TILE):
            tile = gallery.rows(start, start + TILE, device)
            list(each(partial(comparing.block, tile, start), range(len(blocks))))
    return torch.cat([b.values for b in best]).cpu(), torch.cat([b.rows for b in best]).cpu()


@dataclass(frozen=True)
class _Comparing:
    """The queries in blocks, the best of each so far, and what it takes to go on."""

    blocks: Sequence[Tensor]
    best: Sequence[Best]
    exclusion: Exclusion | None
    room: ScratchBuffer

    def block(self, tile: Tensor, start: int, n: int) -> None:
        """Compare block ``n`` with the gallery's rows from ``start`` on."""
        similarity = self.room.products(self.blocks[n], tile)
        if self.exclusion is not None:
            first = n * len(self.blocks[0])
            own = self.exclusion.queries[first : first + len(similarity)].to(tile.device)
            theirs = self.exclusion.gallery[start : start + len(tile)].to(tile.device)
            similarity.masked_fill_(own[:, None] == theirs[None], -torch.inf)
        self.best[n].take(similarity, start)


@contextmanager
def _threads(cores: int) -> Iterator[Callable[..., Iterable[None]]]:
    """`map`, with a thread for each core, which computes alone.

    All cores for one product after the other took a fifth longer: numpy's threads and torch's wait for each other
    between the steps, and keep the cores from each other as they do.
    """
    if cores == 1:
        yield map
        return
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    with threadpool_limits(1, "blas"), pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(cores)  # what a thread sets is also what threads begin with that come later


class ScratchBuffer(threading.local):
    """Memory for the similarities of a block and a tile, of which every thread has its own."""

    def __init__(self, size: int, device: torch.device) -> None:
        self._values = torch.empty(size, device=device)

    def products(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Dot products of queries [n, F] with gallery [m, F]: [n, m], until the next call of this thread.

        On CPUs by numpy: its OpenBLAS took two thirds of the time of torch's MKL on a processor of AMD.
        """
        n, m = len(queries), len(gallery)
        out = self._values[: n * m].view(n, m)
        if out.device.type == "cpu":
            np.matmul(queries.numpy(), gallery.numpy().T, out=out.numpy())
        else:
            torch.mm(queries, gallery.T, out=out)
        return out


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
        width = similarity.shape[1] - similarity.shape[1] % GROUP
        self._merge(similarity[:, :width].unflatten(1, (-1, GROUP)), first_row)
        self._merge(similarity[:, width:].unsqueeze(2), first_row + width)

    def _merge(self, grouped: Tensor, first_row: int) -> None:
        """Those of [n, groups, size] that are better than the worst of the best so far: few, but at first."""
        if not grouped.numel():
            return
        highest = grouped.amax(2)
        floor = self._floor(highest)
        query, group = (highest > floor).nonzero(as_tuple=True)
        members = grouped[query, group]
        pair, member = (members > floor[query]).nonzero(as_tuple=True)
        query, column = query[pair], group[pair] * grouped.shape[2] + member
        changed, turn, count = query.unique_consecutive(return_inverse=True, return_counts=True)
        if not len(changed):
            return
        place = torch.arange(len(query), device=query.device) - (count.cumsum(0) - count)[turn]
        values = self.values.new_full((len(changed), int(count.max())), -torch.inf)
        rows = torch.full_like(values, -1, dtype=torch.int64)
        values[turn, place], rows[turn, place] = members[pair, member], column + first_row
        self.values[changed], best = torch.cat([self.values[changed], values], 1).topk(self.values.shape[1])
        self.rows[changed] = torch.cat([self.rows[changed], rows], 1).gather(1, best)

    def _floor(self, highest: Tensor) -> Tensor:
        """What the next ones must exceed, [n, 1]; while there are none yet, k groups have k rows that set it."""
        worst, k = self.values[:, -1:], self.values.shape[1]
        if highest.shape[1] >= k and bool((worst == -torch.inf).any()):
            kth = highest.topk(k).values[:, -1:]
            return torch.maximum(worst, torch.nextafter(kth, torch.full_like(kth, -torch.inf)))
        return worst


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
