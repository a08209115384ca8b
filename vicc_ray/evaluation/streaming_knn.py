"""Exact nearest neighbors in bounded memory, for galleries that do not fit into it.

Nq queries, Ng gallery videos, F features, k neighbors. The gallery is read once, a tile of rows at a time, so it may be
a memory-mapped file. In memory at once are a tile, a block of similarities and the queries.
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

from vicc_ray.evaluation.exclusion import Exclusion
from vicc_ray.evaluation.normalized_features import TILE_ROWS, NormalizedFeatures

BLOCK_QUERIES = 1024
"""Most queries of a block; with a tile, 32 MiB of similarities."""
GROUP_ROWS = 32
"""Adjacent gallery rows that are compared individually only if the best of them beats the k-th neighbor so far. Sorting
all similarities would take as long as computing them."""


def stream_nearest(
    queries: Tensor, gallery: NormalizedFeatures, k: int, exclusion: Exclusion | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The k nearest gallery videos of each query, k at most Ng; see :func:`vicc_ray.evaluation.knn.nearest`."""
    cores = torch.get_num_threads() if device.type == "cpu" else 1
    rounds = max(1, -(-len(queries) // (cores * BLOCK_QUERIES)))  # blocks of one size, as many for each core
    size = max(1, -(-len(queries) // (cores * rounds)))
    blocks = queries.to(device).split(size)
    neighbors = [TopK.empty(len(block), k, device) for block in blocks]
    search = _Search(blocks, neighbors, exclusion, ScratchBuffer(size * min(TILE_ROWS, len(gallery)), device))
    with _map_over_cores(cores) as map_blocks:
        for start in range(0, len(gallery), TILE_ROWS):
            tile = gallery.rows(start, start + TILE_ROWS, device)
            list(map_blocks(partial(search.compare, tile, start), range(len(blocks))))
    return torch.cat([n.values for n in neighbors]), torch.cat([n.rows for n in neighbors])


@dataclass(frozen=True)
class _Search:
    """Blocks of queries with their neighbors so far."""

    blocks: Sequence[Tensor]
    neighbors: Sequence[TopK]
    exclusion: Exclusion | None
    buffer: ScratchBuffer

    def compare(self, tile: Tensor, first_row: int, block: int) -> None:
        """Compare a block of queries with a tile of the gallery that begins at ``first_row``."""
        similarity = self.buffer.products(self.blocks[block], tile)
        if self.exclusion is not None:
            self.exclusion.mask_(similarity, block * len(self.blocks[0]), first_row)
        self.neighbors[block].update(similarity, first_row)


@contextmanager
def _map_over_cores(cores: int) -> Iterator[Callable[..., Iterable[None]]]:
    """A `map` with one single-threaded worker for each core.

    All cores on one product after the other took a fifth longer: NumPy's and torch's thread pools compete for the cores
    between the products.
    """
    if cores == 1:
        yield map
        return
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    with threadpool_limits(1, "blas"), pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(cores)  # a worker's setting also becomes the default of threads that start later


class ScratchBuffer(threading.local):
    """Memory for one block of similarities, one for each thread, used again and again.

    Fresh memory for each block took a quarter of the time of its product.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._values = torch.empty(size, device=device)

    def products(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Dot products [n, m] of queries [n, F] and gallery rows [m, F]; valid until this thread's next call.

        NumPy computes them on CPUs: its OpenBLAS took two thirds of the time of torch's MKL on an AMD processor.
        """
        n, m = len(queries), len(gallery)
        out = self._values[: n * m].view(n, m)
        if out.device.type == "cpu":
            np.matmul(queries.numpy(), gallery.numpy().T, out=out.numpy())
        else:
            torch.mm(queries, gallery.T, out=out)
        return out


@dataclass
class TopK:
    """The k nearest rows so far of a block of queries: ``values`` [n, k], largest first, and ``rows`` int64 [n, k].

    Of equal similarities the lower row comes first. Rows arrive in ascending order, and stable sorting keeps it.
    """

    values: Tensor
    rows: Tensor

    @classmethod
    def empty(cls, count: int, k: int, device: torch.device) -> TopK:
        """No neighbors yet: similarity -inf, row -1."""
        return cls(
            torch.full((count, k), -torch.inf, device=device),
            torch.full((count, k), -1, dtype=torch.int64, device=device),
        )

    def update(self, similarity: Tensor, first_row: int) -> None:
        """Merge similarities [n, m] of the gallery rows from ``first_row`` on."""
        width = similarity.shape[1] - similarity.shape[1] % GROUP_ROWS
        self._merge(similarity[:, :width].unflatten(1, (-1, GROUP_ROWS)), first_row)
        self._merge(similarity[:, width:].unsqueeze(2), first_row + width)

    def _merge(self, grouped: Tensor, first_row: int) -> None:
        """Merge similarities [n, groups, size] that exceed the floor; after the first tiles they are few."""
        if not grouped.numel():
            return
        highest = grouped.amax(2)
        floor = self._floor(highest)
        query, group = (highest > floor).nonzero(as_tuple=True)
        members = grouped[query, group]
        pair, member = (members > floor[query]).nonzero(as_tuple=True)
        query, column = query[pair], group[pair] * grouped.shape[2] + member
        changed, position, count = query.unique_consecutive(return_inverse=True, return_counts=True)
        if not len(changed):
            return
        slot = torch.arange(len(query), device=query.device) - (count.cumsum(0) - count)[position]
        values = self.values.new_full((len(changed), int(count.max())), -torch.inf)
        rows = torch.full_like(values, -1, dtype=torch.int64)
        values[position, slot], rows[position, slot] = members[pair, member], column + first_row
        values, order = torch.cat([self.values[changed], values], 1).sort(dim=1, descending=True, stable=True)
        k = self.values.shape[1]
        self.values[changed] = values[:, :k]
        self.rows[changed] = torch.cat([self.rows[changed], rows], 1).gather(1, order[:, :k])

    def _floor(self, highest: Tensor) -> Tensor:
        """What a new row must exceed, [n, 1]: the k-th neighbor.

        Where k groups exist and some query has no k neighbors yet, the k-th best group bounds its k-th neighbor too.
        """
        worst, k = self.values[:, -1:], self.values.shape[1]
        if highest.shape[1] >= k and bool((worst == -torch.inf).any()):
            kth = highest.topk(k).values[:, -1:]
            return torch.maximum(worst, torch.nextafter(kth, torch.full_like(kth, -torch.inf)))
        return worst
