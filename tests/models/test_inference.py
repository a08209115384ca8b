"""Networks optimized for inference compute the same features; the original network is untouched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.cpu_conv.per_frame_conv2d import PerFrameConv3d
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.inference import fuse_batch_norms, optimize_for_inference
from vicc_ray.registry import BACKBONES


def random_clips() -> Tensor:
    return torch.randn(2, 3, 8, 32, 32).contiguous(memory_format=torch.channels_last_3d)


def encoder_with_statistics(backbone: str, clips: Tensor) -> Encoder:
    """An encoder in eval mode whose batch norms have seen ``clips``."""
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(backbone=backbone, embed_dim=8))
    with torch.no_grad():
        encoder.train()(clips)
    return encoder.eval()


def batch_norms(network: nn.Module) -> list[nn.BatchNorm3d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["s3d", "r2plus1d-small", "tiny"])
def test_an_optimized_network_has_the_same_features_and_no_gradients(backbone: str) -> None:
    clips = random_clips()
    network = encoder_with_statistics(backbone, clips)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimized = optimize_for_inference(network, torch.device("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(optimized.features(clips), network.features(clips), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    assert PerFrameConv3d in {type(module) for module in optimized.modules()} and not batch_norms(optimized)
    assert not any(p.requires_grad for p in optimized.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"r2plus1d-18"}))
def test_fusing_batch_norms_keeps_the_output(backbone: str) -> None:
    clips = random_clips()
    network = optimize_for_cpu(encoder_with_statistics(backbone, clips)).eval()
    with torch.no_grad():
        for norm in batch_norms(network):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        fused = fuse_batch_norms(network)
        torch.testing.assert_close(fused(clips), network(clips), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert batch_norms(network) and not batch_norms(fused)


def test_batch_norms_are_not_fused_in_training_mode() -> None:
    with pytest.raises(ValueError, match=r"\.eval\(\)"):
        fuse_batch_norms(build_encoder(ModelConfig(backbone="tiny", embed_dim=8)))
