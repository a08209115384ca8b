"""Video backbones by name: [B, C, T, H, W] -> [B, features, t, h, w]."""

from __future__ import annotations

from vicc_ray.errors import UserError
from vicc_ray.models.s3d import S3DBackbone
from vicc_ray.models.tiny import TinyBackbone

Backbone = S3DBackbone | TinyBackbone
BACKBONES: dict[str, type[Backbone]] = {"s3d": S3DBackbone, "tiny": TinyBackbone}
"""A backbone is a module of the number of input channels with an attribute ``features``, its output channels."""


def build_backbone(name: str, in_channels: int = 3) -> Backbone:
    """A backbone with fresh weights.

    Raises:
        UserError: there is no backbone of that name.
    """
    if name not in BACKBONES:
        raise UserError(f"model.backbone: {name!r} given; allowed: {', '.join(sorted(BACKBONES))}")
    return BACKBONES[name](in_channels)
