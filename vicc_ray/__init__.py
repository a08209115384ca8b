"""Self-supervised pretraining of video networks by cross-stream prototypical contrasting, on Ray.

The names in ``__all__`` are the public Python API; everything else may change. They are imported on first use, because
torch and Ray take seconds to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Config",
    "SweepConfig",
    "UserError",
    "__version__",
    "evaluate",
    "load_clips",
    "load_config",
    "load_encoder",
    "prepare",
    "pretrain",
    "run_sweep",
]

if TYPE_CHECKING:
    from vicc_ray.config import Config
    from vicc_ray.config.loader import load_config
    from vicc_ray.errors import UserError
    from vicc_ray.export.pretrained import load_encoder
    from vicc_ray.pipelines.inference.evaluate import evaluate
    from vicc_ray.pipelines.prepare.pipeline import prepare
    from vicc_ray.pipelines.sweep.run import run_sweep
    from vicc_ray.pipelines.train.pretrain import pretrain
    from vicc_ray.search.clips import load_clips
    from vicc_ray.sweep.config import SweepConfig

MODULES = {
    "Config": "vicc_ray.config",
    "SweepConfig": "vicc_ray.sweep.config",
    "UserError": "vicc_ray.errors",
    "evaluate": "vicc_ray.pipelines.inference.evaluate",
    "load_clips": "vicc_ray.search.clips",
    "load_config": "vicc_ray.config.loader",
    "load_encoder": "vicc_ray.export.pretrained",
    "prepare": "vicc_ray.pipelines.prepare.pipeline",
    "pretrain": "vicc_ray.pipelines.train.pretrain",
    "run_sweep": "vicc_ray.pipelines.sweep.run",
}
"""Public name -> its module."""


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
