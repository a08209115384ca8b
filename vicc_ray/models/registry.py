"""Registry of backbones. A new one is a file in ``backbones/`` and a line in :data:`BACKBONES`.

This module does not import torch: processes that only decode videos validate the configuration, which names backbones,
and should not wait for the import.
"""

from __future__ import annotations

from typing import NamedTuple


class BackboneSpec(NamedTuple):
    """Location of a backbone, and the smallest clip that gives a non-empty output.

    The defaults are the smallest clip that the configuration allows (:class:`vicc_ray.config.ClipConfig`).
    """

    module: str
    """Module in ``vicc_ray/models/backbones``."""
    cls: str
    """Name of its class, a :class:`vicc_ray.models.backbones.base.Backbone`."""
    min_frames: int = 2
    """Smallest number of frames."""
    min_pixels: int = 16
    """Smallest height and width in pixels."""


BACKBONES = {
    "s3d": BackboneSpec("s3d", "S3DBackbone", min_frames=5, min_pixels=17),
    "r2plus1d-18": BackboneSpec("r2plus1d", "R2Plus1D18"),
    "r2plus1d-small": BackboneSpec("r2plus1d", "R2Plus1DSmall"),
    "tiny": BackboneSpec("tiny", "TinyBackbone"),
}
"""Value of ``model.backbone`` -> backbone."""
