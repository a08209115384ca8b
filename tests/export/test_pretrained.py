"""Trained encoders are loaded from runs, checkpoints, files and published checkpoints, and take decoded clips."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vicc_ray
from vicc_ray.config import ClassifyConfig, Config, Stream
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import find_weights, load_encoder
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.runs.checkpoint_state import take_snapshot
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import Phase, build_phases
from vicc_ray.training.tasks.classifier_trainer import ClassifierTrainer
from vicc_ray.training.tasks.pretrainer import Pretrainer

CONFIG = Config.model_validate(
    {
        "clip": {"frames": 8, "size": 32, "frame_stride": 2},
        "model": {"backbone": "tiny", "embed_dim": 8},
        "method": {"num_prototypes": 4, "queue_size": 0},
        "schedule": {"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1, "cycles": 1},
        "train": {"global_batch_size": 2},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phases have finished: RGB and flow, stage 1; the weights of RGB changed in between."""
    folder = RunDir(tmp_path_factory.mktemp("run"))
    folder.open(CONFIG)
    pretrainer = Pretrainer(CONFIG, torch.device("cpu"))
    for phase in build_phases(CONFIG.schedule)[:2]:
        pretrainer.start_phase(phase)
        with torch.no_grad():
            next(pretrainer.encoders["rgb"].parameters()).add_(0.1)
        snapshot = take_snapshot(pretrainer, phase.last_epoch, phase.last_epoch, CONFIG.model_dump(mode="json"))
        path = folder.phase_checkpoint(phase.index, phase.name)
        path.mkdir()
        snapshot.write(path)
    return folder.path


def clips(channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, channels), dtype=np.uint8))


def test_three_lines_of_python_load_an_encoder(run: Path) -> None:
    encoder = vicc_ray.load_encoder(run)
    features = encoder(clips())
    assert features.shape == (2, encoder.features)
    assert (features.dtype, features.requires_grad, encoder.training) == (torch.float32, False, False)
    assert (encoder.clip.frames, encoder.clip.size, encoder.clip.frame_stride) == (8, 32, 2)


def test_features_equal_those_of_the_evaluation(run: Path) -> None:
    from vicc_ray.evaluation.video_features import embed_windows

    for stream, channels in (("rgb", 3), ("flow", 2)):
        encoder = load_encoder(run, stream)
        expected = embed_windows(encoder.network, encoder.to_input, clips(channels).numpy(), 2, torch.device("cpu"))
        np.testing.assert_allclose(encoder(clips(channels)).mean(0).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_run_loads_the_last_phase_and_a_checkpoint_its_own_weights(run: Path) -> None:
    last = sorted((run / "checkpoints").iterdir())
    assert find_weights(run, "rgb").fingerprint == find_weights(last[0], "rgb").fingerprint
    assert find_weights(last[1], "rgb").fingerprint != find_weights(last[0], "rgb").fingerprint
    assert find_weights(run, "rgb").card["checkpoint"] == last[0].name


def test_a_file_gives_the_same_features(run: Path, tmp_path: Path) -> None:
    write_weights(tmp_path / "it.safetensors", find_weights(run))
    assert torch.equal(load_encoder(tmp_path / "it.safetensors")(clips()), load_encoder(run)(clips()))
    with pytest.raises(UserError, match=r"it\.safetensors.*\brgb\b.*\bflow\b"):
        load_encoder(tmp_path / "it.safetensors", "flow")


@pytest.mark.slow
def test_a_published_checkpoint_is_loaded(golden_dir: Path, published_checkpoint: Callable[[Path], Path]) -> None:
    encoder = load_encoder(published_checkpoint(golden_dir / "official_r21d_keys.json"))
    video = torch.zeros(1, 8, 32, 32, 3, dtype=torch.uint8)
    assert encoder(video).shape == (1, 512)


def classified(folder: Path, stream: Stream, mode: str, finished: bool = True) -> EncoderWeights:
    """A folder as `vicc-ray classify` makes it; the network that was trained in it."""
    config = CONFIG.model_copy(update={"classify": ClassifyConfig(stream=stream, mode=mode)})
    run = RunDir(folder / f"{stream}-{mode}")
    run.path.mkdir(parents=True)
    run.open(config)
    run.classes_file.write_text("{}")
    torch.manual_seed(len(mode))
    encoder = build_encoder(config.model)
    trainer = ClassifierTrainer(config, torch.device("cpu"), encoder, torch.zeros(2, dtype=torch.int64), 2)
    trainer.start_phase(Phase(0, f"{stream}-{mode}", 0, stream, False, 0, 1, 1))
    path = run.checkpoints.path / ("phase-0-" + run.path.name if finished else "step-00000001")
    path.mkdir()
    take_snapshot(trainer, 1, 1.0, config.model_dump(mode="json")).write(path)
    return EncoderWeights(stream, config.model, config.clip, dict(encoder.state_dict()))


def test_a_classification_folder_loads_the_network_of_its_stream_only(tmp_path: Path) -> None:
    tuned, probed = classified(tmp_path, "flow", "finetune"), classified(tmp_path, "rgb", "probe")
    assert find_weights(tmp_path / "flow-finetune", "flow").fingerprint == tuned.fingerprint
    assert find_weights(tmp_path / "rgb-probe").fingerprint == probed.fingerprint
    assert load_encoder(tmp_path / "flow-finetune", "flow")(clips(2)).shape == (2, 128)
    for there in (tmp_path / "flow-finetune", tmp_path / "flow-finetune/checkpoints/phase-0-flow-finetune"):
        with pytest.raises(UserError, match=r"network.*\bflow\b.*\brgb\b"):
            find_weights(there)
    classified(tmp_path, "rgb", "finetune", finished=False)
    with pytest.raises(UserError, match=r"rgb-finetune.*vicc-ray classify"):
        find_weights(tmp_path / "rgb-finetune")


def test_the_classifications_of_a_run_load_the_fine_tuned_network_of_the_stream(tmp_path: Path) -> None:
    tuned, _ = classified(tmp_path, "flow", "finetune"), classified(tmp_path, "rgb", "probe")
    assert find_weights(tmp_path, "flow").fingerprint == tuned.fingerprint
    with pytest.raises(UserError, match=r"\brgb\b.*flow-finetune, rgb-probe"):
        find_weights(tmp_path)


def test_arrays_and_lists_of_clips_equal_a_tensor(run: Path) -> None:
    encoder, tensor = load_encoder(run), clips()
    array, expected = tensor.numpy(), load_encoder(run)(tensor)
    mirrored = np.ascontiguousarray(array[:, :, :, ::-1])
    read_only = array.copy()
    read_only.setflags(write=False)
    for batch in (array, list(array), tuple(tensor), [array[0], tensor[1]], read_only, mirrored[:, :, :, ::-1]):
        torch.testing.assert_close(encoder(batch), expected)
    assert np.array_equal(array, tensor.numpy())


@pytest.mark.parametrize(
    ("argument", "error", "named"),
    [
        ("film.mp4", TypeError, ["str", "load_clips"]),
        (["a.mp4", "b.mp4"], TypeError, ["list of str", "load_clips"]),
        ([], ValueError, ["none"]),
        ([np.zeros((8, 32, 32, 3), np.uint8), np.zeros((9, 32, 32, 3), np.uint8)], ValueError, ["(8, 32", "(9, 32"]),
        (np.zeros((2, 8, 32, 32, 3), np.float32), ValueError, ["float32", "uint8"]),
        (np.zeros((8, 32, 32, 3), np.uint8), ValueError, ["[8, 32, 32, 3]", "clips[None]"]),
    ],
)
def test_an_argument_that_is_not_clips_is_named_by_its_type(
    argument: object, error: type, named: list[str], run: Path
) -> None:
    with pytest.raises(error) as raised:
        load_encoder(run)(argument)
    assert [name for name in named if name not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("batch", "facts"),
    [
        (torch.zeros(2, 8, 32, 32, 3), ["torch.float32 [2, 8, 32, 32, 3]", "uint8 [B, T, H, W, 3]"]),
        (torch.zeros(2, 3, 8, 32, 32, dtype=torch.uint8), ["[2, 3, 8, 32, 32]"]),
        (torch.zeros(8, 32, 32, 3, dtype=torch.uint8), ["[8, 32, 32, 3]"]),
        (torch.zeros(2, 1, 32, 32, 3, dtype=torch.uint8), ["tiny", "2 frames", "16 x 16"]),
        (torch.zeros(2, 8, 32, 8, 3, dtype=torch.uint8), ["8 frames", "32 x 8", "16 x 16"]),
    ],
)
def test_clips_of_another_shape_are_rejected(batch: torch.Tensor, facts: list[str], run: Path) -> None:
    with pytest.raises(ValueError) as raised:
        load_encoder(run)(batch)
    assert [fact for fact in facts if fact not in str(raised.value)] == []


def test_a_path_without_a_network_is_rejected(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: .*run folder.*\.safetensors.*\.pth\.tar"):
        load_encoder(tmp_path / "nothing")
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        load_encoder(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"film\.mp4: .*run folder.*\.safetensors.*\.pth\.tar"):
        load_encoder(tmp_path / "film.mp4")
    begun = RunDir(tmp_path / "begun")
    begun.path.mkdir()
    begun.open(CONFIG)
    with pytest.raises(UserError, match=r"begun: .*\brgb\b.*vicc-ray pretrain"):
        load_encoder(begun.path)


class Payload:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, (f"touch {self.file}",)


def test_a_pickled_payload_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"x": Payload(tmp_path / "ran")}}, tmp_path / "evil.pth.tar")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for name in ("evil.pth.tar", "plain.pt"):
        with pytest.raises(UserError, match=re.escape(name)):
            load_encoder(tmp_path / name)
    assert not (tmp_path / "ran").exists()
