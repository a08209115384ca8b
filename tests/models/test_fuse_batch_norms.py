"""Batch norm folded into convolutions: the same features, the original untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.fuse_batch_norms import fuse_batch_norms
from vicc_ray.models.registry import BACKBONES


@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"r2plus1d-18"}))
def test_features_are_the_same_with_fewer_layers(backbone: str) -> None:
    torch.manual_seed(0)
    network = optimize_for_cpu(build_encoder(ModelConfig(backbone=backbone, embedding=8)))
    clips = torch.randn(2, 3, 8, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        network.train()(clips)  # statistics that are not those of the start
        for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm3d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        network.eval()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        quick = fuse_batch_norms(network)
        torch.testing.assert_close(quick(clips), network(clips), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    left = [sum(isinstance(m, nn.BatchNorm3d) for m in n.modules()) for n in (network, quick)]
    assert left[1] == 0 < left[0]


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match="eval mode only"):
        fuse_batch_norms(build_encoder(ModelConfig(backbone="tiny", embedding=8)))
