"""What all tasks of a pipeline need, put into the object store once and unpacked once a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import ray

_unpacked: OrderedDict[str, Any] = OrderedDict()


def get_cached(held: ray.ObjectRef, build: Callable[[Any], Any] | None = None, kept: int = 1) -> Any:
    """The object of a reference, as ``build`` makes it ready for use; the process keeps the last ``kept`` of them."""
    key = held.hex()
    if key not in _unpacked:
        while len(_unpacked) >= kept:
            _unpacked.popitem(last=False)
        content = ray.get(held)
        _unpacked[key] = build(content) if build else content
    _unpacked.move_to_end(key)
    return _unpacked[key]
