"""Initial weights of an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.encoder import build_encoder


@pytest.mark.parametrize("backbone", ["s3d", "r2plus1d-small"])
def test_published_weights_at_the_start_are_normal_with_deviation_001(backbone: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(backbone=backbone, init="normal"))
    for module in encoder.backbone.modules():
        if isinstance(module, nn.Conv3d):
            count = module.weight.numel()
            assert abs(float(module.weight.detach().std()) - 0.01) < 0.05 / count**0.5
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.BatchNorm3d):
            assert (module.weight == 1).all() and not module.bias.any()
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_the_head_is_not_drawn_anew() -> None:
    encoders = []
    for init in ("default", "normal"):
        torch.manual_seed(0)
        encoders.append(build_encoder(ModelConfig(backbone="tiny", embed_dim=8, init=init)))
    widths = [encoder.head[0].weight.detach().abs().max() for encoder in encoders]
    assert max(widths) <= 1 / encoders[0].backbone.features ** 0.5  # torch's bound for linear layers
