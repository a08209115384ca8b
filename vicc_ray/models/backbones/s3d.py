"""S3D as published with the method: torchvision's layers, other batch norm. B batch, C channels, T frames, H, W."""

from __future__ import annotations

from functools import partial

from torch import nn

from vicc_ray.models.backbones.base import Backbone

NORM = partial(nn.BatchNorm3d, eps=1e-5, momentum=0.1)
"""Batch norm of the method; torchvision's S3D has eps 1e-3 and momentum 1e-3."""


class S3DBackbone(Backbone):
    """Separable Inception network (Xie et al., arXiv 1712.04851) without its classifier; 7.9 M parameters.

    [B, C, T, H, W] -> [B, 1024, T/8, H/32, W/32]; T is at least 5, H and W are at least 17.
    """

    features = 1024

    def __init__(self, in_channels: int = 3) -> None:
        # Imported late: torchvision takes as long to import as torch, and every process of a run would wait for it.
        from torchvision.models.video import S3D

        super().__init__()
        layers = S3D(num_classes=1, norm_layer=NORM).features
        if in_channels != 3:
            layers[0][0][0] = nn.Conv3d(in_channels, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.layers = layers
