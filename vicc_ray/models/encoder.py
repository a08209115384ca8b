"""Encoder of one stream: backbone, spatio-temporal mean, projection head, unit norm.

B batch, C channels, T frames, H, W, F backbone features, D embedding.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.config import ModelConfig
from vicc_ray.models.backbones.base import Backbone, build_backbone

IN_CHANNELS = 3
"""Input channels of both streams; :mod:`vicc_ray.models.input_convention` says what they hold."""

INIT_STD = 0.01
"""Standard deviation of the convolutions' weights with ``model.init: normal``."""


class Encoder(nn.Module):
    """Clip -> embedding. Training contrasts embeddings; retrieval and classification use :meth:`features`."""

    def __init__(self, backbone: Backbone, embedding: int) -> None:
        super().__init__()
        width = backbone.features
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, embedding))

    def features(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, F]: the backbone's spatio-temporal mean."""
        return self.backbone(x).mean(dim=(2, 3, 4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, D] of unit norm, in fp32 whatever the precision of the layers."""
        return functional.normalize(self.head(self.features(x)).float(), dim=1)


def build_encoder(config: ModelConfig) -> Encoder:
    """Encoder of either stream with random weights, drawn from torch's global generator."""
    backbone = build_backbone(config.backbone, IN_CHANNELS)
    if config.init == "normal":
        init_normal(backbone)
    return Encoder(backbone, config.embed_dim)


def init_normal(backbone: nn.Module) -> None:
    """Draw the weights of all convolutions from a normal distribution; batch norms start as the identity."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.normal_(module.weight, std=INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm3d) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
