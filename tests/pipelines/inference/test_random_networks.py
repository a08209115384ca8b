"""Untrained networks, the control rows of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.pipelines.runs import settings
from vicc_ray.config import Config
from vicc_ray.models.encoder import build_encoder
from vicc_ray.pipelines.inference.evaluate import run_networks
from vicc_ray.runs.run_dir import RunDir


def random_weights(config: Config, folder: Path) -> dict[str, torch.Tensor]:
    """Weights of the untrained RGB network of a run whose first phase has a checkpoint."""
    checkpoint = RunDir(folder).phase_checkpoint(0, "rgb-stage1")
    checkpoint.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vicc_ray.pipelines.inference.evaluate.load_encoder_tensors", lambda folder, stream: {})
        return run_networks(RunDir(folder), config)["rgb-random"].weights


def test_features_of_an_untrained_network_have_a_size_whatever_the_initial_weights(tmp_path: Path) -> None:
    clips = torch.randn(3, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    model = {"backbone": "s3d", "embed_dim": 16}
    weights = [
        random_weights(settings(model={**model, "init": init}, clip={"frames": 16, "size": 64}), tmp_path / init)
        for init in ("default", "normal")
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    encoder = build_encoder(settings(model=model, clip={"frames": 16, "size": 64}).model).eval()
    encoder.load_state_dict(weights[1])
    with torch.inference_mode():
        features = encoder.features(clips)
    assert float((features - features.mean(dim=0)).norm(dim=1).min()) > 1e-10
