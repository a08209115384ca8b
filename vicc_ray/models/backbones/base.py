"""Video backbones: what one is, and making one by its name. B batch, C channels, T frames, H, W."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import ClassVar

from torch import Tensor, nn

from vicc_ray.errors import UserError
from vicc_ray.models.padded_conv3d import use_padded_convs
from vicc_ray.models.registry import BACKBONES


class Backbone(nn.Module):
    """A video network without its classifier, [B, C, T, H, W] -> [B, features, t, h, w]; made from the number C."""

    features: ClassVar[int]
    """Channels of the output."""
    layers: nn.Sequential
    """The network's stages, first to last."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, features, t, h, w]."""
        return self.layers(x)


def backbone_class(name: str) -> type[Backbone]:
    """The class of a backbone, which tells what it is without making one.

    Raises:
        UserError: there is no backbone of that name.
    """
    if name not in BACKBONES:
        raise UserError(f"model.backbone: {name!r} given; allowed: {', '.join(BACKBONES)}")
    listed = BACKBONES[name]
    kind: type[Backbone] = getattr(import_module(f"vicc_ray.models.backbones.{listed.module}"), listed.cls)
    return kind


def build_backbone(name: str, in_channels: int = 3) -> Backbone:
    """A backbone with fresh weights, drawn from torch's global generator; clips shorter than its kernels are safe.

    Raises:
        UserError: there is no backbone of that name.
    """
    make: Callable[[int], Backbone] = backbone_class(name)
    backbone = make(in_channels)
    use_padded_convs(backbone)
    return backbone
