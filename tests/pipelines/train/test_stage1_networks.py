"""A run that begins with stage 2, from networks that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipelines.prepared import run as prepare_videos
from tests.pipelines.prepared import write_videos
from tests.pipelines.runs import settings
from vicc_ray.cli.main import main
from vicc_ray.config import ClipConfig, Config, ModelConfig, Stream
from vicc_ray.config.loader import dump_config
from vicc_ray.errors import UserError
from vicc_ray.models.checkpoint_import.importer import read_published
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.pipelines.train.stage1_networks import stage1_checkpoint
from vicc_ray.runs.checkpoint_state import load_encoder_tensors, load_prototypes, read_state
from vicc_ray.utils.jsonl import read_lines

CONFIG = settings()


def network_files(folder: Path, model: ModelConfig = CONFIG.model) -> dict[Stream, Path]:
    """Exported files of one untrained network for each stream."""
    files: dict[Stream, Path] = {}
    streams: tuple[Stream, Stream] = ("rgb", "flow")
    for seed, stream in enumerate(streams):
        torch.manual_seed(seed)
        files[stream] = folder / f"{stream}.safetensors"
        write_weights(files[stream], EncoderWeights(stream, model, ClipConfig(), build_encoder(model).state_dict()))
    return files


def test_the_checkpoint_holds_both_networks_and_stands_after_stage_1(tmp_path: Path) -> None:
    files = network_files(tmp_path)
    folder = stage1_checkpoint(tmp_path / "run", CONFIG, files)
    assert read_state(folder)["epoch"] == 2
    for seed, stream in enumerate(files):
        torch.manual_seed(seed)
        expected = build_encoder(CONFIG.model).state_dict()
        tensors = load_encoder_tensors(folder, stream)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    assert stage1_checkpoint(tmp_path / "run", CONFIG, files) == folder


@pytest.mark.slow
def test_prototypes_of_published_networks_go_on(
    golden_dir: Path, published_checkpoint: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = published_checkpoint(golden_dir / "official_s3d_keys.json")
    config = settings(
        model={"backbone": "s3d", "embed_dim": 128, "flow_input": "picture"},
        clip={"frames": 16, "size": 64},
        method={"num_prototypes": 300, "queue_size": 0},
    )
    folder = stage1_checkpoint(tmp_path / "run", config, {"rgb": source, "flow": source})
    expected = read_published(source).prototypes
    assert expected is not None
    for stream in ("rgb", "flow"):
        assert torch.equal(load_prototypes(folder, stream), expected)


@pytest.mark.parametrize(
    ("sources", "changes", "named"),
    [
        (("rgb",), {}, "--init-flow"),
        (("rgb", "flow"), {"schedule": {"cycles": 0}}, "cycles"),
        (("rgb", "flow"), {"model": {"embed_dim": 8}}, "model.embed_dim"),
    ],
)
def test_what_does_not_fit_is_named(
    sources: tuple[Stream, ...], changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    files = network_files(tmp_path)
    with pytest.raises(UserError) as caught:
        stage1_checkpoint(tmp_path / "run", settings(**changes), {stream: files[stream] for stream in sources})
    assert named in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_from_two_networks_trains_stage_2_only_and_resumes(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", *(f"{n}.mp4" for n in range(8)), frames=10)
    prepare_videos(tmp_path / "videos", tmp_path / "store", Config(prepare=CONFIG.prepare, ray=CONFIG.ray))
    (tmp_path / "recipe.yaml").write_text(dump_config(CONFIG))
    networks = [word for stream, path in network_files(tmp_path).items() for word in (f"--init-{stream}", str(path))]
    command = ["pretrain", str(tmp_path / "recipe.yaml"), "--store", str(tmp_path / "store"), "-q"]
    for _ in range(2):
        assert main([*command, "--run", str(tmp_path / "run"), *networks]) == 0
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["phase"] for line in lines] == ["rgb-stage2-1"] * 2
    assert main([*command, "--run", str(tmp_path / "run"), *networks[:2]]) == 2
