"""What all tasks of a pipeline need, put into the object store once and unpacked once a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

_unpacked: dict[str, Any] = {}


def unpacked(held: ray.ObjectRef, build: Callable[[Any], Any] | None = None) -> Any:
    """The object of a reference, as ``build`` makes it ready for use; the newest alone is kept in the process."""
    key = held.hex()
    if key not in _unpacked:
        _unpacked.clear()
        content = ray.get(held)
        _unpacked[key] = build(content) if build else content
    return _unpacked[key]
