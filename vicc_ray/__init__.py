"""Self-supervised pretraining of video networks by cross-stream prototypical contrasting, on Ray."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_clips", "load_encoder"]

if TYPE_CHECKING:
    from vicc_ray.export.pretrained import load_encoder
    from vicc_ray.search.clips import load_clips

PLACES = {"load_clips": "vicc_ray.search.clips", "load_encoder": "vicc_ray.export.pretrained"}
"""Where the public functions are."""


def __getattr__(name: str) -> Any:
    """A public function on first use: torch takes seconds to import, and most verbs do not need it."""
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
