"""The examples with a trained encoder run as they stand, and find the copy of a video."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.videos import moving, write_video
from vicc_ray.config import Config
from vicc_ray.export.exporter import export
from vicc_ray.export.pretrained import find_weights
from vicc_ray.runs.checkpoint_state import take_snapshot
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer

ROOT = Path(__file__).parents[2]
CONFIG = Config.model_validate(
    {
        "clip": {"frames": 8, "size": 32, "frame_stride": 2},
        "model": {"backbone": "tiny", "embed_dim": 8},
        "method": {"num_prototypes": 4, "queue_size": 0},
        "schedule": {"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1, "cycles": 0},
        "train": {"global_batch_size": 2},
    }
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``my-run/run``, an exported network and ``my-videos``, of which the last is a copy of the first."""
    place = tmp_path_factory.mktemp("place")
    folder = RunDir(place / "my-run" / "run")
    folder.path.mkdir(parents=True)
    folder.open(CONFIG)
    pretrainer, phase = Pretrainer(CONFIG, torch.device("cpu")), build_phases(CONFIG.schedule)[0]
    pretrainer.start_phase(phase)
    checkpoint = folder.phase_checkpoint(phase.index, phase.name)
    checkpoint.mkdir()
    take_snapshot(pretrainer, 1, 1.0, CONFIG.model_dump(mode="json")).write(checkpoint)
    export(find_weights(folder.path), place, ["safetensors"])
    for number in range(5):
        write_video(place / f"my-videos/{number}.mp4", moving(40, 48, 64, (number - 2, 1), seed=number))
    shutil.copy(place / "my-videos/0.mp4", place / "my-videos/copy.mp4")
    return place


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/use-the-encoder.md", "the card"])
def test_the_example_runs_and_finds_the_copy(
    page: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (place / "README.md" if page == "the card" else ROOT / page).read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "load_clips" in block]
    assert len([line for line in example.splitlines() if line]) <= 12
    monkeypatch.chdir(place)
    names: dict[str, np.ndarray] = {}
    exec(example, names)
    printed = capsys.readouterr().out.split()
    assert [word for word in printed if word.endswith(".mp4")] == ["my-videos/0.mp4", "my-videos/copy.mp4"]
    similarity = names["similarity"]
    assert similarity[0, -1] == pytest.approx(1, abs=1e-4)
    assert similarity[0, 1:-1].max() < 0.9


def test_the_script_finds_the_copy(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = sorted(map(str, (place / "my-videos").iterdir()))
    monkeypatch.setattr(sys, "argv", ["", str(place / "my-run/run"), *videos])
    runpy.run_path(str(ROOT / "examples/encoder_in_three_lines.py"))
    nearest = dict(line.split(": nearest is ") for line in capsys.readouterr().out.splitlines())
    first, copy = str(place / "my-videos/0.mp4"), str(place / "my-videos/copy.mp4")
    assert (nearest[first], nearest[copy]) == (copy, first)
