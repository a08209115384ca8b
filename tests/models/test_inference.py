"""Networks that are only looked through: the same features, and nothing left to learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.cpu_conv.per_frame_conv2d import PerFrameConv3d
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.inference import for_inference


@pytest.mark.parametrize("backbone", ["s3d", "r2plus1d-small", "tiny"])
def test_features_are_the_same_and_the_network_stays_as_it_was(backbone: str) -> None:
    torch.manual_seed(0)
    network = build_encoder(ModelConfig(backbone=backbone, embedding=8))
    clips = torch.randn(2, 3, 8, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        network.train()(clips)  # statistics that are not those of the start
        network.eval()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        quick = for_inference(network, torch.device("cpu"))
        torch.testing.assert_close(quick.features(clips), network.features(clips), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    kinds = {type(module) for module in quick.modules()}
    assert PerFrameConv3d in kinds and nn.BatchNorm3d not in kinds
    assert not any(p.requires_grad for p in quick.parameters())
