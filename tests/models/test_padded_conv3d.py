"""Clips shorter than a temporal kernel: equal output and gradients, without oneDNN's faulty backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from tests.short_clips import ShortClipGuard
from vicc_ray.config import ModelConfig, TrainConfig
from vicc_ray.models.backbones.base import build_backbone
from vicc_ray.models.cpu_conv import temporal_conv_matmul
from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.padded_conv3d import PaddedConv3d, use_padded_convs
from vicc_ray.registry import BACKBONES
from vicc_ray.training.model_setup import prepare_network

LAST = torch.channels_last_3d
CPU = torch.device("cpu")
CONVS = {
    "stride 2": ((7, 1, 1), (2, 1, 1), (3, 0, 0), 1),
    "stride 1": ((3, 1, 1), 1, (1, 0, 0), 1),
    "space and time": ((5, 5, 3), 2, (2, 2, 1), 1),
    "dilated": ((3, 1, 1), 1, (2, 0, 0), (2, 1, 1)),
}


def conv(name: str) -> nn.Conv3d:
    kernel, stride, padding, dilation = CONVS[name]
    return nn.Conv3d(4, 6, kernel, stride, padding, dilation)


def results(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, and gradients of the input and of the weights."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    y = layer(x)
    (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    assert x.grad is not None
    return [y, x.grad, *(p.grad.clone() for p in layer.parameters() if p.grad is not None)]


def test_a_subclass_of_conv3d_is_kept() -> None:
    class Causal(nn.Conv3d):
        """Depends on no later frame."""

    network = nn.Sequential(Causal(4, 6, (3, 1, 1), padding=(1, 0, 0)), conv("stride 1"))
    layer = network[0]
    assert use_padded_convs(network)[0] is layer and type(network[1]) is PaddedConv3d


@pytest.mark.parametrize("frames", range(1, 9))
@pytest.mark.parametrize("name", CONVS)
def test_output_and_gradients_equal_the_contiguous_convolution(name: str, frames: int) -> None:
    torch.manual_seed(0)
    expected_layer = conv(name)
    x = torch.randn(2, 4, frames, 6, 5)
    expected = results(expected_layer, x)
    for change in (use_padded_convs, optimize_for_cpu):
        layer = nn.Sequential(conv(name))
        layer[0].load_state_dict(expected_layer.state_dict())
        actual = results(change(layer).to(memory_format=LAST), x.contiguous(memory_format=LAST))
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def untouched(encoder: Encoder) -> None:
    """Leave the encoder as built, with contiguous weights."""


def prepared(**settings: object) -> Callable[[Encoder], None]:
    """Prepare the encoder as training does."""
    return lambda encoder: prepare_network(encoder, encoder, TrainConfig(**settings), CPU)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(
    ("prepare", "bf16"),
    [(untouched, False), (prepared(), False), (prepared(), True), (prepared(activation_checkpointing=True), False)],
    ids=["as built", "trained", "bf16", "checkpointed"],
)
def test_training_with_the_smallest_clips_is_safe(
    name: str, prepare: Callable[[Encoder], None], bf16: bool, short_clip_guard: ShortClipGuard
) -> None:
    """Clips are channels-last in memory, as the batches of training are."""
    spec = BACKBONES[name]
    encoder = build_encoder(ModelConfig(backbone=name, embed_dim=8)).train()
    prepare(encoder)
    for frames in (spec.min_frames, spec.min_frames + 2):
        clips = torch.randn(2, 3, frames, spec.min_pixels, spec.min_pixels).contiguous(memory_format=LAST)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            embeddings = encoder(clips)
        embeddings[:, 0].sum().backward()
    assert short_clip_guard.seen > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_gradients_of_the_smallest_clip_equal_the_contiguous_network(name: str) -> None:
    """Eval mode, because batch statistics of so few values would amplify rounding."""
    spec = BACKBONES[name]
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    clips = torch.randn(2, 3, spec.min_frames, spec.min_pixels, spec.min_pixels)
    expected = results(backbone.double(), clips.double())
    actual = results(optimize_for_cpu(backbone.float().to(memory_format=LAST)), clips.contiguous(memory_format=LAST))
    for one, other in zip(actual, expected, strict=True):
        assert (one - other).norm() <= 1e-3 * other.norm()


def test_a_layer_without_gradients_leaves_the_padding_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a backward pass nothing is unsafe, so no clip is copied."""
    layer = PaddedConv3d(3, 4, (7, 1, 1), padding=(3, 0, 0)).requires_grad_(False)
    monkeypatch.setattr("vicc_ray.models.padded_conv3d.pad", None)
    assert layer(torch.randn(1, 3, 2, 4, 4)).shape == (1, 4, 2, 4, 4)
    with torch.inference_mode():
        assert layer.requires_grad_()(torch.randn(1, 3, 2, 4, 4)).shape == (1, 4, 2, 4, 4)


def test_the_guard_catches_plain_convolutions_and_custom_functions() -> None:
    x = torch.randn(1, 4, 2, 4, 4).contiguous(memory_format=LAST).requires_grad_()
    weight = torch.randn(4, 4, 3, 1, 1).contiguous(memory_format=LAST).requires_grad_()
    for y in (
        nn.functional.conv3d(x, weight, padding=(1, 0, 0)),
        temporal_conv_matmul._TemporalConv.apply(x, weight, None, 1, True, False),
    ):
        with pytest.raises(AssertionError, match="backward pass"):
            y.sum().backward()
