"""Self-supervised pretraining of video networks by cross-stream prototypical contrasting, on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_encoder"]

if TYPE_CHECKING:
    from vicc_ray.evaluation.pretrained import load_encoder


def __getattr__(name: str) -> Any:
    """``load_encoder`` on first use: it imports torch, which takes seconds, and most verbs do not need it."""
    if name == "load_encoder":
        from vicc_ray.evaluation.pretrained import load_encoder

        return load_encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
