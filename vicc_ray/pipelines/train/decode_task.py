"""What a decoding process runs; kept apart so that it imports neither torch nor what trains with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from vicc_ray.pipelines.cluster.broadcast import get_cached

BUILDERS_KEPT = 8
"""Training workers that one process decodes for in turn, without opening their files anew."""


@ray.remote
def decode(held: list[ray.ObjectRef], row: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a :class:`ClipBatchBuilder` makes of a row.

    Args:
        held: the maker, in the object store so that a task does not carry the list of videos, and in a list so that Ray
            does not unpack it anew for each task.
    """
    made: dict[str, np.ndarray] = get_cached(held[0], kept=BUILDERS_KEPT)(row)
    return made
