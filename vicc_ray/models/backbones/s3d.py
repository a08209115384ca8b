"""S3D, the published backbone: torchvision's layers, the method's batch norm. B batch, C channels, T frames, H, W."""

from __future__ import annotations

from functools import partial

from torch import nn

from vicc_ray.models.backbones.base import Backbone

NORM = partial(nn.BatchNorm3d, eps=1e-5, momentum=0.1)
"""The method's batch norm; torchvision's own S3D has eps 1e-3 and momentum 1e-3."""


class S3DBackbone(Backbone):
    """Separable Inception network (Xie et al., arXiv 1712.04851) without its classifier; 7.9 M parameters.

    [B, C, T, H, W] -> [B, 1024, T/8, H/32, W/32]; T of at least 5, H and W of at least 17.
    """

    features = 1024

    def __init__(self, in_channels: int = 3) -> None:
        # Not above: importing torchvision takes as long as torch itself, and every process of a run would wait for it.
        from torchvision.models.video import S3D

        super().__init__()
        layers = S3D(num_classes=1, norm_layer=NORM).features
        if in_channels != 3:
            layers[0][0][0] = nn.Conv3d(in_channels, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.layers = layers
