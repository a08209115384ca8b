"""A linear layer on an encoder's features. B batch, C channels, T frames, H, W, F features, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.models.encoder import Encoder


class Classifier(nn.Module):
    """Clip -> scores of classes.

    Attributes:
        encoder: its backbone gives the features; its projection head is not used.
        frozen: features are brought to unit norm and normalised by batch norm without weights of its own, so that one
            learning rate suits every network; the encoder always is in inference mode. Otherwise the linear layer takes
            the features as they are.
    """

    def __init__(self, encoder: Encoder, classes: int, frozen: bool) -> None:
        super().__init__()
        self.encoder, self.frozen = encoder, frozen
        width = encoder.backbone.features
        # Of five dimensions, as all batch norms of the networks are: so it is synchronised with them.
        norm: nn.Module = nn.BatchNorm3d(width, affine=False) if frozen else nn.Identity()
        linear = nn.Linear(width, classes)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        self.layers = nn.ModuleDict({"norm": norm, "linear": linear})
        encoder.requires_grad_(not frozen)
        encoder.head.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Classifier:
        """As of every module; a frozen encoder stays as in evaluation."""
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """[B, C, T, H, W] -> scores [B, K] before the softmax, in fp32 whatever the precision of the encoder.

        Args:
            kept: what the features are multiplied by, [B, F]: 0 where dropout leaves one out.
        """
        features = self.features(x)
        features = features if kept is None else features * kept
        with torch.autocast(x.device.type, enabled=False):
            scores: Tensor = self.layers["linear"](features)
        return scores

    def features(self, x: Tensor) -> Tensor:
        """What the linear layer takes, [B, C, T, H, W] -> fp32 [B, F]."""
        if not self.frozen:
            return self.encoder.features(x).float()
        with torch.no_grad():
            unit = functional.normalize(self.encoder.features(x).float(), dim=1)
        normalized: Tensor = self.layers["norm"](unit[:, :, None, None, None])
        return normalized[:, :, 0, 0, 0]
