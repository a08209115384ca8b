"""A trained network is found in a run, a checkpoint, a file and a published checkpoint, and takes clips as decoded."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vicc_ray
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.pretrained import find_weights, load_encoder
from vicc_ray.models.weights_file import write_weights
from vicc_ray.training.checkpoint import take_snapshot
from vicc_ray.training.pretrainer import Pretrainer
from vicc_ray.training.run_folder import RunFolder
from vicc_ray.training.schedule import turns

CONFIG = Config.model_validate(
    {
        "clip": {"frames": 8, "size": 32, "step": 2},
        "model": {"backbone": "tiny", "embedding": 8},
        "method": {"prototypes": 4, "queue": 0},
        "schedule": {"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1, "cycles": 1},
        "train": {"batch": 2},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two turns have finished: RGB and flow, stage 1; the weights of RGB changed in between."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.open(CONFIG)
    pretrainer = Pretrainer(CONFIG, torch.device("cpu"))
    for turn in turns(CONFIG.schedule)[:2]:
        pretrainer.start_turn(turn)
        with torch.no_grad():
            next(pretrainer.encoders["rgb"].parameters()).add_(0.1)
        snapshot = take_snapshot(pretrainer, turn.last_epoch, turn.last_epoch, CONFIG.model_dump(mode="json"))
        path = folder.turn_checkpoint(turn.index, turn.name)
        path.mkdir()
        snapshot.write(path)
    return folder.path


def clips(channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, channels), dtype=np.uint8))


def test_three_lines_of_python(run: Path) -> None:
    encoder = vicc_ray.load_encoder(run)
    features = encoder(clips())
    assert features.shape == (2, encoder.features)
    assert (features.dtype, features.requires_grad, encoder.training) == (torch.float32, False, False)
    assert (encoder.clip.frames, encoder.clip.size, encoder.clip.step) == (8, 32, 2)


def test_features_are_those_of_the_evaluation(run: Path) -> None:
    from vicc_ray.evaluation.embedding import embed_windows

    for stream, channels in (("rgb", 3), ("flow", 2)):
        encoder = load_encoder(run, stream)
        expected = embed_windows(encoder.network, stream, clips(channels).numpy(), 2, torch.device("cpu"))
        np.testing.assert_allclose(encoder(clips(channels)).mean(0).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_run_gives_the_last_turn_of_the_stream_and_a_checkpoint_what_was_then(run: Path) -> None:
    last = sorted((run / "checkpoints").iterdir())
    assert find_weights(run, "rgb").fingerprint == find_weights(last[0], "rgb").fingerprint
    assert find_weights(last[1], "rgb").fingerprint != find_weights(last[0], "rgb").fingerprint
    assert find_weights(run, "rgb").card["checkpoint"] == last[0].name


def test_a_file_gives_the_same_features(run: Path, tmp_path: Path) -> None:
    write_weights(tmp_path / "it.safetensors", find_weights(run))
    assert torch.equal(load_encoder(tmp_path / "it.safetensors")(clips()), load_encoder(run)(clips()))
    with pytest.raises(UserError, match="a network of rgb, and one of flow was asked for"):
        load_encoder(tmp_path / "it.safetensors", "flow")


def test_a_published_checkpoint(golden_dir: Path, published_checkpoint: Callable[[Path], Path]) -> None:
    encoder = load_encoder(published_checkpoint(golden_dir / "official_r21d_keys.json"))
    video = torch.zeros(1, 8, 32, 32, 3, dtype=torch.uint8)
    assert encoder(video).shape == (1, 512)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 8, 32, 32, 3), "torch.float32 [2, 8, 32, 32, 3] given; uint8 [B, T, H, W, 3] expected"),
        (torch.zeros(2, 3, 8, 32, 32, dtype=torch.uint8), "[2, 3, 8, 32, 32] given"),
        (torch.zeros(8, 32, 32, 3, dtype=torch.uint8), "[8, 32, 32, 3] given"),
        (torch.zeros(2, 1, 32, 32, 3, dtype=torch.uint8), "tiny takes at least 2 frames of 16 x 16"),
        (torch.zeros(2, 8, 32, 8, 3, dtype=torch.uint8), "8 frames of 32 x 8 pixels given"),
    ],
)
def test_other_clips_are_declined(given: torch.Tensor, message: str, run: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_encoder(run)(given)


def test_what_is_no_network_is_declined(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is nothing here"):
        load_encoder(tmp_path / "nothing")
    with pytest.raises(UserError, match="no run here"):
        load_encoder(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="no trained network: it is neither"):
        load_encoder(tmp_path / "film.mp4")
    begun = RunFolder(tmp_path / "begun")
    begun.path.mkdir()
    begun.open(CONFIG)
    with pytest.raises(UserError, match="no turn of the rgb network has finished yet"):
        load_encoder(begun.path)


class Payload:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, (f"touch {self.file}",)


def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"x": Payload(tmp_path / "ran")}}, tmp_path / "evil.pth.tar")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(UserError, match="refused and not run"):
        load_encoder(tmp_path / "evil.pth.tar")
    with pytest.raises(UserError, match=r"refused and not run|not a torch checkpoint"):
        load_encoder(tmp_path / "plain.pt")
    assert not (tmp_path / "ran").exists()
