"""Exact nearest neighbors by dot product, on a GPU where there is one.

Nq queries, Ng gallery videos, F features, k neighbors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vicc_ray.evaluation.exclusion import Exclusion
from vicc_ray.evaluation.normalized_features import NormalizedFeatures
from vicc_ray.evaluation.streaming_knn import stream_nearest

IN_MEMORY_BYTES = 2**27
"""Largest gallery, as float32, that is taken into memory: 32,768 videos of 1,024 features. Larger ones are streamed."""
BLOCK_QUERIES = 1024
"""Queries compared at once; with the largest gallery in memory, 128 MiB of similarities."""


def nearest(
    queries: Tensor,
    gallery: NormalizedFeatures,
    k: int,
    exclusion: Exclusion | None = None,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """The k gallery videos of largest dot product with each query; of equal ones the lower row comes first.

    Args:
        queries: float32 [Nq, F].
        device: where to compare; by default a GPU if there is one.

    Returns:
        similarity float32 [Nq, min(k, Ng)], largest first, and gallery row int64, on the host; -inf and -1 where the
        exclusion leaves no further row.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    search = _nearest_in_memory if gallery.nbytes <= IN_MEMORY_BYTES else stream_nearest
    similarity, rows = search(queries, gallery, min(k, len(gallery)), exclusion, device)
    return similarity.cpu(), rows.cpu()


def _nearest_in_memory(
    queries: Tensor, gallery: NormalizedFeatures, k: int, exclusion: Exclusion | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    candidates = gallery.rows(0, len(gallery), device)
    blocks = []
    for number, block in enumerate(queries.split(BLOCK_QUERIES)):
        similarity = block.to(device) @ candidates.T
        if exclusion is not None:
            exclusion.mask_(similarity, number * BLOCK_QUERIES, 0)
        blocks.append(_stable_topk(similarity, k))
    values, rows = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return values, rows.masked_fill(values == -torch.inf, -1)


def _stable_topk(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` along rows [n, m], in which of equal values the lower column comes first."""
    values, columns = similarity.topk(min(k + 1, similarity.shape[1]))
    crowded = (values[:, k - 1 : k] == values[:, k:]).any(dim=1)  # one more column equals the k-th value
    values, columns = values[:, :k].clone(), columns[:, :k].clone()
    if crowded.any():
        ordered, order = similarity[crowded].sort(dim=1, descending=True, stable=True)
        values[crowded], columns[crowded] = ordered[:, :k], order[:, :k]
    columns, order = columns.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)
