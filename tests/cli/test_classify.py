"""Command ``classify``: its argument errors, without training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vicc_ray.cli.main import main
from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.runs.checkpoint_state import take_snapshot
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Weights file of a small RGB network."""
    torch.manual_seed(0)
    model = ModelConfig(backbone="tiny", embed_dim=8)
    weights = EncoderWeights("rgb", model, ClipConfig(frames=8, size=32), build_encoder(model).state_dict())
    write_weights(tmp_path / "network.safetensors", weights)
    return tmp_path / "network.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Run whose first phase (RGB) has finished."""
    config = Config.model_validate(
        {
            "model": {"backbone": "tiny", "embed_dim": 8},
            "method": {"num_prototypes": 4, "queue_size": 0},
            "train": {"global_batch_size": 2},
        }
    )
    folder, phase = RunDir(tmp_path / "run"), build_phases(config.schedule)[0]
    folder.open(config)
    pretrainer = Pretrainer(config, torch.device("cpu"))
    pretrainer.start_phase(phase)
    checkpoint = folder.phase_checkpoint(phase.index, phase.name)
    checkpoint.mkdir()
    take_snapshot(pretrainer, phase.last_epoch, phase.last_epoch, config.model_dump(mode="json")).write(checkpoint)
    return folder.path


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["classify", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.out == ""
    return captured.err


def test_missing_arguments_are_named(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none, out = tmp_path / "none", ("--out", tmp_path / "out")
    assert "--out DIR is missing" in error_of(capsys, "--model", network, "--store", none)
    assert "--store STORE is missing" in error_of(capsys, "--model", network, *out)
    assert "--mode cached_probe: needs --run" in error_of(capsys, "--model", network, *out, "--mode", "cached_probe")
    assert str(none) in error_of(capsys, "--model", network, *out, "--store", none)
    assert str(none) in error_of(capsys, "--run", none, "--store", none)
    assert "RECIPE" in error_of(capsys, "demo", "--run", none, "--store", none)


def test_conflicting_arguments_are_named(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--model", network, "--out", tmp_path / "out", "--store", tmp_path)
    assert "model.embed_dim=4" in error_of(capsys, *given, "--set", "model.embed_dim=4")
    message = error_of(capsys, *given, "--stream", "flow")
    assert "rgb" in message and "flow" in message
    assert "classify.dropout: 1 given; allowed: " in error_of(capsys, *given, "--set", "classify.dropout=1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("quick", [("--mode", "cached_probe"), ("--set", "classify.mode=cached_probe")])
def test_cached_probe_refuses_a_store(
    run: Path, quick: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    another = tmp_path / "another"
    message = error_of(capsys, "--run", run, *quick, "--store", another)
    assert all(words in message for words in ("--store", str(another), "cached_probe", str(run / "evaluation")))
    assert str(another) not in error_of(capsys, "--run", run, *quick)
