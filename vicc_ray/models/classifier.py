"""Classifier: a linear layer on an encoder's features. B batch, C channels, T frames, H, W, F features, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.models.encoder import Encoder


class Classifier(nn.Module):
    """Clip -> class scores.

    Attributes:
        encoder: source of the features; its projection head is not used.
        frozen: whether only the linear layer is trained (linear probe). The encoder then stays in eval mode, and
            features are scaled to unit norm and normalized by a batch norm without affine weights, so that one learning
            rate suits every network. Without ``frozen`` the linear layer takes the features unchanged.
    """

    def __init__(self, encoder: Encoder, classes: int, frozen: bool) -> None:
        super().__init__()
        self.encoder, self.frozen = encoder, frozen
        width = encoder.backbone.features
        # 3-D like the batch norms of the backbones, so that it is synchronized across workers with them.
        norm: nn.Module = nn.BatchNorm3d(width, affine=False) if frozen else nn.Identity()
        linear = nn.Linear(width, classes)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        self.layers = nn.ModuleDict({"norm": norm, "linear": linear})
        encoder.requires_grad_(not frozen)
        encoder.head.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Classifier:
        """Set training mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def forward(self, x: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        """Logits [B, K] of clips [B, C, T, H, W], in fp32 whatever the precision of the encoder.

        Args:
            dropout_mask: [B, F], multiplied with the features: 0 where a feature is dropped.
        """
        features = self.features(x)
        features = features if dropout_mask is None else features * dropout_mask
        with torch.autocast(x.device.type, enabled=False):
            scores: Tensor = self.layers["linear"](features)
        return scores

    def features(self, x: Tensor) -> Tensor:
        """Input of the linear layer: [B, C, T, H, W] -> fp32 [B, F]."""
        if not self.frozen:
            return self.encoder.features(x).float()
        with torch.no_grad():
            unit = functional.normalize(self.encoder.features(x).float(), dim=1)
        normalized: Tensor = self.layers["norm"](unit[:, :, None, None, None])
        return normalized[:, :, 0, 0, 0]
