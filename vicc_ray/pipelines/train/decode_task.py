"""Ray task that decodes clips. A module of its own, so that decoding processes do not import the training code."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from vicc_ray.pipelines.cluster.broadcast import get_cached

BUILDERS_KEPT = 8
"""Builders that a decoding process caches: one for each training worker, with its files open."""


@ray.remote
def decode(refs: list[ray.ObjectRef], row: dict[str, Any]) -> dict[str, np.ndarray]:
    """Decode one microbatch.

    Args:
        refs: the :class:`ClipBatchBuilder` in the object store, so that a task does not carry the list of videos. In a
            list, so that Ray does not deserialize it for each task.
        row: ``step`` and ``microbatch``.
    """
    microbatch: dict[str, np.ndarray] = get_cached(refs[0], kept=BUILDERS_KEPT)(row)
    return microbatch
