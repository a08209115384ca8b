"""Spatial and temporal convolutions replaced for CPUs: equal output and gradients, the same state dict."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.cpu_conv import temporal_conv_matmul
from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.cpu_conv.per_frame_conv2d import PerFrameConv3d
from vicc_ray.models.cpu_conv.temporal_conv_matmul import TemporalConv3d
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.padded_conv3d import PaddedConv3d

CONVS = [
    nn.Conv3d(4, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
    nn.Conv3d(4, 6, (1, 5, 3), (1, 1, 2), (0, 2, 1), dilation=(1, 1, 2)),
    nn.Conv3d(4, 8, 1, groups=2),
    nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), bias=False),
    nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0)),
    nn.Conv3d(4, 6, (7, 1, 1), (2, 1, 1), (3, 0, 0)),
    nn.Conv3d(4, 6, (9, 1, 1), (3, 1, 1), (4, 0, 0), bias=False),
]


@pytest.mark.parametrize("frames", [1, 2, 5, 7, 8])
@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format])
@pytest.mark.parametrize("thresholds", [(0, 0), (0, 10**9), (10**9, 0)])
def test_output_and_gradients_equal_the_3d_convolution(
    monkeypatch: pytest.MonkeyPatch,
    conv: nn.Conv3d,
    layout: torch.memory_format,
    frames: int,
    thresholds: tuple[int, int],
) -> None:
    """``thresholds`` decide whether matrix products are used in the forward pass, the backward pass, or both."""
    monkeypatch.setattr(temporal_conv_matmul, "MIN_FORWARD", thresholds[0])
    monkeypatch.setattr(temporal_conv_matmul, "MIN_BACKWARD", thresholds[1])
    torch.manual_seed(0)
    conv = conv.to(memory_format=torch.contiguous_format)
    x = torch.randn(2, 4, frames, 12, 10)
    actual = []
    # The reference is contiguous: in channels-last memory some CPUs get the gradients of short clips wrong.
    for layer, form in (
        (nn.Sequential(conv), torch.contiguous_format),
        (optimize_for_cpu(nn.Sequential(conv)), layout),
    ):
        layer.to(memory_format=form)
        source = x.clone(memory_format=form).requires_grad_()
        y = layer(source)
        conv.zero_grad()
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        actual.append([y, source.grad, *(p.grad.clone() for p in conv.parameters())])
    for one, other in zip(*actual, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert actual[1][0].is_contiguous(memory_format=layout)


def test_a_layer_works_without_input_gradients_and_in_inference_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(temporal_conv_matmul, "MIN_FORWARD", 0)
    monkeypatch.setattr(temporal_conv_matmul, "MIN_BACKWARD", 0)
    conv = nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0))
    layer = optimize_for_cpu(nn.Sequential(conv))
    x = torch.randn(1, 3, 4, 5, 5).contiguous(memory_format=torch.channels_last_3d)
    layer(x).sum().backward()
    assert conv.weight.grad is not None
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), conv(x))


def test_every_convolution_of_s3d_is_replaced_and_the_state_dict_is_unchanged() -> None:
    network = build_encoder(ModelConfig(backbone="s3d", embed_dim=8))
    before = {name: value.data_ptr() for name, value in network.state_dict().items()}
    optimized = optimize_for_cpu(network)
    assert {name: value.data_ptr() for name, value in optimized.state_dict().items()} == before
    for conv in optimized.modules():
        if isinstance(conv, nn.Conv3d):
            assert isinstance(conv, PerFrameConv3d if conv.kernel_size[0] == 1 else TemporalConv3d)


@pytest.mark.parametrize(
    ("conv", "cls"),
    [
        (nn.Conv3d(4, 6, (3, 1, 1)), nn.Conv3d),
        (nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), padding_mode="replicate"), nn.Conv3d),
        (nn.Conv3d(4, 6, (3, 1, 1), padding="same"), nn.Conv3d),
        (nn.Conv3d(4, 6, (3, 1, 1), padding=(2, 0, 0), dilation=(2, 1, 1)), PaddedConv3d),
        (nn.Conv3d(4, 6, 3, padding=1), PaddedConv3d),
    ],
)
def test_other_convolutions_are_only_padded(conv: nn.Conv3d, cls: type[nn.Conv3d]) -> None:
    assert type(optimize_for_cpu(nn.Sequential(conv))[0]) is cls
