"""Classifier: features of a frozen and of a trained encoder, and the mode of each part."""

from __future__ import annotations

import pytest
import torch

from vicc_ray.config import ModelConfig
from vicc_ray.models.classifier import Classifier
from vicc_ray.models.encoder import build_encoder

CLIPS = torch.randn(4, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))


def classifier(frozen: bool) -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_encoder(ModelConfig(backbone="tiny", embed_dim=8)), classes=3, frozen=frozen)


def test_a_frozen_encoder_stays_in_eval_mode_while_the_layer_trains() -> None:
    network = classifier(frozen=True).train()
    assert not any(module.training for module in network.encoder.modules())
    assert network.layers["norm"].training
    assert {p.requires_grad for p in network.encoder.parameters()} == {False}
    assert not list(network.layers["norm"].parameters())
    assert not any(module.training for module in network.eval().modules())
    tuned = classifier(frozen=False).train()
    assert all(module.training for module in tuned.encoder.backbone.modules())


def test_features_of_a_frozen_encoder_have_unit_norm_and_are_normalized_over_the_batch() -> None:
    network = classifier(frozen=True)
    features = network.features(CLIPS)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(features.shape[1]), atol=1e-5, rtol=0)
    plain = network.encoder.features

    network.encoder.features = lambda x: 7 * plain(x)  # type: ignore[method-assign]
    torch.testing.assert_close(network.features(CLIPS), features)


def test_fine_tuning_changes_features_by_dropout_only() -> None:
    network = classifier(frozen=False).eval()
    features = network.encoder.features(CLIPS)
    torch.testing.assert_close(network(CLIPS), network.layers["linear"](features))
    dropout_mask = torch.zeros_like(features)
    torch.testing.assert_close(network(CLIPS, dropout_mask), network.layers["linear"].bias.expand(4, 3))


@pytest.mark.parametrize("frozen", [True, False])
def test_scores_are_fp32_under_autocast(frozen: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert classifier(frozen)(CLIPS).dtype == torch.float32
