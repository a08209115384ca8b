"""Base class of video backbones, and their construction by name. B batch, C channels, T frames, H, W."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from vicc_ray.errors import UserError
from vicc_ray.models.padded_conv3d import use_padded_convs
from vicc_ray.registry import BACKBONES, load_class


class Backbone(nn.Module):
    """Video network without its classifier, [B, C, T, H, W] -> [B, features, t, h, w]; its argument is C."""

    features: ClassVar[int]
    """Channels of the output."""
    layers: nn.Sequential
    """The network's stages, first to last."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, features, t, h, w]."""
        return self.layers(x)


def backbone_class(name: str) -> type[Backbone]:
    """Class of a backbone, for facts that need no instance.

    Raises:
        UserError: there is no backbone of that name.
    """
    if name not in BACKBONES:
        raise UserError(f"model.backbone: {name!r} given; allowed: {', '.join(BACKBONES)}")
    cls: type[Backbone] = load_class(BACKBONES[name])
    return cls


def build_backbone(name: str, in_channels: int = 3) -> Backbone:
    """Backbone with random weights, drawn from torch's global generator; clips shorter than its kernels are safe.

    Raises:
        UserError: there is no backbone of that name.
    """
    create: Callable[[int], Backbone] = backbone_class(name)
    backbone = create(in_channels)
    use_padded_convs(backbone)
    return backbone
