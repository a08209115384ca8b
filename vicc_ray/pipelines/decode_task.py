"""What a decoding process of Ray Data runs; kept apart so that it imports neither torch nor what trains with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from vicc_ray.pipelines.held import unpacked


class DecodeTask:
    """Calls a :class:`BatchMaker` that lies in the object store, so that a task does not carry the list of videos."""

    def __init__(self, held: ray.ObjectRef) -> None:
        self._held = held

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = unpacked(self._held)(row)
        return made
