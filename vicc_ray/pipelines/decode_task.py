"""What a decoding process of Ray Data runs; kept apart so that it imports neither torch nor what trains with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from vicc_ray.training.batch_maker import BatchMaker


class DecodeTask:
    """Calls a :class:`BatchMaker` that lies in the object store, so that a task does not carry the list of videos."""

    def __init__(self, held: ray.ObjectRef) -> None:
        self._held = held

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        return _maker(self._held)(row)


_makers: dict[str, BatchMaker] = {}


def _maker(held: ray.ObjectRef) -> BatchMaker:
    """The maker of a reference, unpacked once a process; the newest alone is kept, since a turn uses one."""
    key = held.hex()
    if key not in _makers:
        _makers.clear()
        _makers[key] = ray.get(held)
    return _makers[key]
