"""Pairs of query and gallery video that may not be neighbors. Nq queries, Ng gallery videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Exclusion:
    """Group numbers int64 [Nq] and [Ng]: a query and a gallery video of equal numbers are not neighbors."""

    queries: Tensor
    gallery: Tensor

    def mask_(self, similarity: Tensor, first_query: int, first_row: int) -> None:
        """Set excluded pairs of a block [n, m] of similarities, which begins at this query and gallery row, to -inf."""
        queries = self.queries[first_query : first_query + similarity.shape[0]].to(similarity.device)
        gallery = self.gallery[first_row : first_row + similarity.shape[1]].to(similarity.device)
        similarity.masked_fill_(queries[:, None] == gallery[None], -torch.inf)


def factorize(columns: Sequence[np.ndarray], unknown: Sequence[int]) -> list[Tensor]:
    """Names as int64, equal names as equal numbers from 0 on across all ``columns``.

    Args:
        columns: str [n] each.
        unknown: for each column the number that stands for the empty name; below 0, so that it equals no name.
    """
    names, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    parts = np.split(numbers.reshape(-1), np.cumsum([len(column) for column in columns])[:-1])
    return [
        torch.from_numpy(np.where(names[part] == "", number, part)) for part, number in zip(parts, unknown, strict=True)
    ]
