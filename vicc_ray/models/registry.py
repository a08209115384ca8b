"""The backbones that there are. A new one is a file of its own in ``backbones/`` and a line in the table below.

Nothing here imports torch: processes that only decode videos read the configuration, which names backbones, and must
not wait for it.
"""

from __future__ import annotations

from typing import NamedTuple


class Listed(NamedTuple):
    """Where a backbone is, and the smallest clip that leaves something to average; the defaults are the smallest of all
    that the configuration allows (:class:`vicc_ray.config.ClipConfig`)."""

    module: str
    """File in ``vicc_ray/models/backbones``."""
    kind: str
    """Class in it, a :class:`vicc_ray.models.backbones.base.Backbone`."""
    frames: int = 2
    """Fewest frames."""
    pixels: int = 16
    """Fewest pixels of height and of width."""


BACKBONES = {
    "s3d": Listed("s3d", "S3DBackbone", frames=5, pixels=17),
    "r2plus1d-18": Listed("r2plus1d", "R2Plus1D18"),
    "r2plus1d-small": Listed("r2plus1d", "R2Plus1DSmall"),
    "tiny": Listed("tiny", "TinyBackbone"),
}
"""What ``model.backbone`` may be -> the backbone."""
