"""Encoder weights in a file: the round trip, and the refusal of other files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vicc_ray.config import ClipConfig, ModelConfig
from vicc_ray.errors import UserError
from vicc_ray.models.backbones.base import build_backbone
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.registry import BACKBONES


@pytest.fixture(scope="module")
def weights() -> EncoderWeights:
    model = ModelConfig(backbone="tiny", embed_dim=8)
    torch.manual_seed(0)
    clip = ClipConfig(frames=8, size=32, frame_stride=2)
    return EncoderWeights("flow", model, clip, build_encoder(model).state_dict(), {"recipe": {"name": "mine"}})


@pytest.mark.parametrize(("flow_input", "crop_share"), [("signed", 1.0), ("picture", 14 / 15)])
def test_written_weights_are_read_back_equal(
    flow_input: str, crop_share: float, weights: EncoderWeights, tmp_path: Path
) -> None:
    model = weights.model.model_copy(update={"flow_input": flow_input})
    weights = replace(weights, model=model, crop_share=crop_share)
    write_weights(tmp_path / "encoder.safetensors", weights)
    read = read_weights(tmp_path / "encoder.safetensors")
    assert (read.stream, read.model, read.clip, read.card) == (
        weights.stream,
        weights.model,
        weights.clip,
        weights.card,
    )
    assert read.convention == weights.convention
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())
    assert read.fingerprint == weights.fingerprint
    read.build()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_feature_dimension_is_read_without_building_a_network(backbone: str) -> None:
    weights = EncoderWeights("rgb", ModelConfig(backbone=backbone, embed_dim=8), ClipConfig(), {})
    assert weights.features == build_backbone(backbone).features


def test_the_fingerprint_depends_on_tensors_stream_clips_and_input_and_not_on_the_card(weights: EncoderWeights) -> None:
    name = "head.0.bias"
    tensors = {**weights.tensors, name: weights.tensors[name] + 1e-6}
    others = [
        replace(weights, tensors=tensors),
        replace(weights, stream="rgb"),
        replace(weights, clip=ClipConfig(frames=9, size=32, frame_stride=2)),
        replace(weights, model=weights.model.model_copy(update={"flow_input": "picture"})),
        replace(weights, crop_share=14 / 15),
    ]
    assert len({weights.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)
    assert replace(weights, card={}).fingerprint == weights.fingerprint


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "names no format"),
        ({"format": "other"}, "'other'"),
        ({"format": "vicc_ray encoder 2"}, "'model'"),
        (
            {"format": "vicc_ray encoder 2", "model": "{}", "clip": "{}", "stream": "sound"},
            "stream: 'sound' given; allowed: rgb, flow",
        ),
        ({"format": "vicc_ray encoder 2", "model": '{"backbone": "vgg"}', "clip": "{}", "stream": "rgb"}, "backbone"),
    ],
)
def test_other_safetensors_files_are_refused(header: dict[str, str] | None, message: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", metadata=header)
    with pytest.raises(UserError, match=re.escape(message)):
        read_weights(tmp_path / "x.safetensors")


def test_a_header_with_the_wrong_input_convention_is_refused(weights: EncoderWeights, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_weights(path, weights)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    other = json.loads(header["input"]) | {"channels": ["v", "u", "zero"]}
    save_file(weights.tensors, path, metadata={**header, "input": json.dumps(other)})
    with pytest.raises(UserError, match=r"input: .*zero.*model\.flow_input signed"):
        read_weights(path)


@pytest.mark.parametrize("name", ["damaged.safetensors", "missing.safetensors"])
def test_a_damaged_or_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match=re.escape(name)):
        read_weights(tmp_path / name)


def test_weights_of_another_network_are_refused(weights: EncoderWeights) -> None:
    with pytest.raises(UserError, match="s3d"):
        replace(weights, model=ModelConfig(backbone="s3d")).build()
