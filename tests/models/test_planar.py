"""Convolutions over space as two-dimensional ones: the same numbers, the same names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vicc_ray.config import ModelConfig
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.planar import PlanarConv3d, make_planar


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv3d(4, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
        nn.Conv3d(4, 6, (1, 5, 3), (1, 1, 2), (0, 2, 1), dilation=(1, 1, 2)),
        nn.Conv3d(4, 8, 1, groups=2),
    ],
)
@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format])
def test_output_and_gradients_are_those_of_the_3d_convolution(conv: nn.Conv3d, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    conv = conv.to(memory_format=layout)
    x = torch.randn(2, 4, 5, 12, 10).contiguous(memory_format=layout)
    found = []
    for layer in (nn.Sequential(conv), make_planar(nn.Sequential(conv))):
        given = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = layer(given)
        conv.zero_grad()
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        found.append([y, given.grad, conv.weight.grad.clone()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert found[1][0].is_contiguous(memory_format=layout)


def test_only_what_can_be_is_replaced_and_names_stay() -> None:
    network = build_encoder(ModelConfig(backbone="s3d", embedding=8))
    before = {name: value.data_ptr() for name, value in network.state_dict().items()}
    planar = make_planar(network)
    assert {name: value.data_ptr() for name, value in planar.state_dict().items()} == before
    for conv in planar.modules():
        if isinstance(conv, nn.Conv3d):
            assert isinstance(conv, PlanarConv3d) == (conv.kernel_size[0] == 1)
