"""Broadcast of an object to all tasks: in the object store once, deserialized once in a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import ray

_cache: OrderedDict[str, Any] = OrderedDict()


def get_cached(ref: ray.ObjectRef, build: Callable[[Any], Any] | None = None, kept: int = 1) -> Any:
    """Object of a reference, or what ``build`` makes of it; the process caches the last ``kept`` results."""
    key = ref.hex()
    if key not in _cache:
        while len(_cache) >= kept:
            _cache.popitem(last=False)
        content = ray.get(ref)
        _cache[key] = build(content) if build else content
    _cache.move_to_end(key)
    return _cache[key]
