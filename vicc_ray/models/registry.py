"""The backbones that there are. A new one is a file of its own in ``backbones/`` and a line in the table below.

Nothing here imports torch: processes that only decode videos read the configuration, which names backbones, and must
not wait for it.
"""

from __future__ import annotations

from typing import NamedTuple


class BackboneSpec(NamedTuple):
    """Where a backbone is, and the smallest clip that leaves something to average; the defaults are the smallest of all
    that the configuration allows (:class:`vicc_ray.config.ClipConfig`)."""

    module: str
    """File in ``vicc_ray/models/backbones``."""
    cls: str
    """Class in it, a :class:`vicc_ray.models.backbones.base.Backbone`."""
    min_frames: int = 2
    """Fewest frames."""
    min_pixels: int = 16
    """Fewest pixels of height and of width."""


BACKBONES = {
    "s3d": BackboneSpec("s3d", "S3DBackbone", min_frames=5, min_pixels=17),
    "r2plus1d-18": BackboneSpec("r2plus1d", "R2Plus1D18"),
    "r2plus1d-small": BackboneSpec("r2plus1d", "R2Plus1DSmall"),
    "tiny": BackboneSpec("tiny", "TinyBackbone"),
}
"""What ``model.backbone`` may be -> the backbone."""
