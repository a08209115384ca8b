"""GFLOPs of a forward pass, counted without computing it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.flops import clip_gflops


@pytest.mark.parametrize("backbone", ["r2plus1d-small", "tiny"])
def test_every_convolution_is_counted(backbone: str) -> None:
    """Each weight and output position costs one multiplication and one addition."""
    model, counted = ModelConfig(backbone=backbone), 0
    network = build_encoder(model).eval()

    def count(conv: nn.Conv3d, _: object, y: torch.Tensor) -> None:
        nonlocal counted
        counted += 2 * conv.weight.numel() * y[0, 0].numel() * len(y)

    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network.features(torch.zeros(1, 3, 8, 32, 32))
    assert clip_gflops(model, frames=8, size=32) == pytest.approx(counted / 1e9)
    assert counted > 0
