"""Exported files compute the same, have a model card, and are used without Ray; two of them without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vicc_ray.config import ClipConfig, Config, ModelConfig, Stream
from vicc_ray.errors import UserError
from vicc_ray.export import exporter as module
from vicc_ray.export.exporter import FILES, TOLERANCE, example_clips, export
from vicc_ray.export.pretrained import PretrainedEncoder
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights

CARD = {
    "recipe": Config(name="mine").model_dump(mode="json"),
    **{"checkpoint": "phase-2-rgb-stage2-1", "step": 480, "epoch": 12.0},
    "data": {"test": 240, "train": 800, "classes": 8, "chance": 0.125},
    "retrieval": {"name": "RGB", "recall": {"1": 0.475, "5": 0.8}, "low": 0.41, "high": 0.54, "queries": 240},
}


def weights(
    backbone: str, stream: Stream = "rgb", frames: int = 8, size: int = 32, flow_input: str = "signed"
) -> EncoderWeights:
    """A network with fresh weights, and statistics of batch norm that are not those of the start."""
    model = ModelConfig(backbone=backbone, embed_dim=8, flow_input=flow_input)
    torch.manual_seed(0)
    encoder = build_encoder(model)
    for name, buffer in encoder.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(0.1 * torch.rand_like(buffer))
    return EncoderWeights(stream, model, ClipConfig(frames=frames, size=size), encoder.state_dict(), CARD)


def check_every_format(network: EncoderWeights, folder: Path) -> None:
    """All files are written and compute the same."""
    differences = export(network, folder)
    assert set(differences) == set(FILES.values())
    assert all(0 <= difference <= TOLERANCE for difference in differences.values())
    assert {path.name for path in folder.iterdir()} == {*FILES.values(), "README.md"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "stream", "flow_input"),
    [("tiny", "flow", "signed"), ("tiny", "flow", "picture"), ("r2plus1d-small", "rgb", "signed")],
)
def test_every_format_computes_the_same_features(
    backbone: str, stream: Stream, flow_input: str, tmp_path: Path
) -> None:
    check_every_format(weights(backbone, stream, flow_input=flow_input), tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All formats of a network, clips and their features by the original."""
    folder, network = tmp_path_factory.mktemp("exported"), weights("tiny")
    export(network, folder)
    encoder = PretrainedEncoder(network).eval()
    clips = example_clips(encoder, 5)
    with torch.inference_mode():
        np.savez(folder / "expected.npz", clips=clips.numpy(), features=encoder(clips).numpy())
    return folder


SNIPPETS = {
    "encoder.safetensors": "import vicc_ray; features = vicc_ray.load_encoder(file)(torch.from_numpy(clips)).numpy()",
    "encoder.pt2": "features = torch.export.load(file).module()(torch.from_numpy(clips)).detach().numpy()",
    "encoder.onnx": "import onnxruntime; features = onnxruntime.InferenceSession(file).run(None, {'clips': clips})[0]",
}


@pytest.mark.slow
@pytest.mark.parametrize("file", SNIPPETS)
def test_exported_files_work_without_ray(file: str, exported: Path) -> None:
    blocked = ["ray"] if file == "encoder.safetensors" else ["ray", "vicc_ray"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))  # an import of them fails
import numpy as np, torch
file, expected = "{file}", np.load("expected.npz")
clips = expected["clips"]
{SNIPPETS[file]}
np.testing.assert_allclose(features, expected["features"], rtol=1e-3, atol=1e-5)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=exported, check=True, env={"PYTHONPATH": str(root), "PATH": ""})


@pytest.mark.slow
def test_the_card_has_configuration_data_and_metrics(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "# mine: tiny video encoder (RGB)" in card
    assert "[B, 8, 32, 32, 3]" in card
    assert "| 47.5 % | 41.0 to 54.0 | 80.0 % | 12.5 % |" in card
    recipe = card.split("```json")[1].split("```")[0]
    assert json.loads(recipe) == CARD["recipe"]
    assert all(name in card for name in FILES.values())


def test_a_file_that_computes_other_features_is_not_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = module._run
    monkeypatch.setattr(module, "_run", lambda *arguments: run(*arguments) * 1.001)
    with pytest.raises(UserError, match=r"encoder\.safetensors.*0\.001.*0\.0001"):
        export(weights("tiny"), tmp_path, ["safetensors"])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"--format onnx: onnxscript .*vicc-ray\[export\]"):
        export(weights("tiny"), tmp_path)
    assert list(tmp_path.iterdir()) == []
