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
    return Encoder(build_backbone(config.backbone, IN_CHANNELS), config.embed_dim)
