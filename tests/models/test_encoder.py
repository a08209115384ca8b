"""Encoder: unit-norm embeddings, pooled features, projection head."""

from __future__ import annotations

import pytest
import torch

from vicc_ray.config import ModelConfig
from vicc_ray.models.encoder import Encoder, build_encoder


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_encoder(ModelConfig(backbone="tiny", embed_dim=16)).eval()


def test_embeddings_have_unit_norm(encoder: Encoder) -> None:
    embeddings = encoder(torch.randn(3, 3, 8, 32, 32))
    assert embeddings.shape == (3, 16)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_features_are_the_mean_over_space_and_time(encoder: Encoder) -> None:
    clip = torch.randn(2, 3, 8, 32, 32)
    maps = encoder.backbone(clip)
    torch.testing.assert_close(encoder.features(clip), maps.flatten(2).mean(dim=2))


def test_embedding_is_the_projection_of_the_features(encoder: Encoder) -> None:
    clip = torch.randn(2, 3, 8, 32, 32)
    direction = encoder.head(encoder.features(clip))
    torch.testing.assert_close(encoder(clip) * direction.norm(dim=1, keepdim=True), direction)


def test_projection_head_is_not_linear(encoder: Encoder) -> None:
    zero, ones = encoder.head(torch.zeros(1, 128)), torch.ones(1, 128)
    odd_part = encoder.head(ones) + encoder.head(-ones) - 2 * zero
    assert odd_part.abs().max() > 1e-3


def test_embeddings_are_fp32_under_autocast(encoder: Encoder) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = encoder(torch.randn(2, 3, 8, 32, 32))
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_equal_seeds_give_equal_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_encoder(ModelConfig(backbone="tiny")).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
