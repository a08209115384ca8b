"""Input of the networks: normalization, order of channels, and the range of flow, for each convention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vicc_ray.config import Config, ModelConfig, PrepareConfig
from vicc_ray.export.pretrained import PretrainedEncoder, find_weights
from vicc_ray.models.checkpoint_import.importer import read_published
from vicc_ray.models.input_convention import PICTURE_FLOW, RGB, SIGNED_FLOW, InputConvention
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer
from vicc_ray.video.appearance import APPEARANCE, plain_appearance
from vicc_ray.video.flow import FlowUnit, quantize

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""Of ImageNet, as the released networks were trained."""
SOURCE = FlowUnit(20.0, None)
"""Flow within +-20 pixels of the source."""


def displacements(shape: tuple[int, ...], bound: float) -> NDArray[np.float64]:
    """Random displacements in pixels that the clip store holds exactly, some of them none: float64 [..., 2]."""
    levels = np.random.default_rng(0).integers(-127, 128, (*shape, 2))
    levels[..., ::4, :] = 0
    return levels * bound / 127


def published_input(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a released flow network is fed, from displacements [B, T, H, W, 2] in pixels of frames with short side 240:
    channels (128, v, u) of a picture of the range -20 to 20, over 255, in ImageNet's normalization; [B, 3, T, H, W]."""
    picture = np.rint((np.clip(pixels, -20, 20) + 20) * 255 / 40)
    channels = np.stack([np.full(pixels.shape[:-1], 128.0), picture[..., 1], picture[..., 0]], axis=1)
    return (channels / 255 - MEAN.reshape(3, 1, 1, 1)) / STD.reshape(3, 1, 1, 1)


def relative(x: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(x - expected) / np.linalg.norm(expected))


def test_rgb_has_imagenet_normalization() -> None:
    white = RGB.to_input(torch.full((1, 2, 4, 4, 3), 255, dtype=torch.uint8), RGB.unit)
    torch.testing.assert_close(white[0, :, 0, 0, 0], torch.tensor((1 - MEAN) / STD).float())


def test_signed_flow_is_a_fraction_of_the_bound_and_has_a_zero_channel() -> None:
    flow = torch.tensor([1, 128, 255, 128], dtype=torch.uint8).view(1, 1, 1, 2, 2)
    for unit in (FlowUnit(20.0, 128), FlowUnit(8.0, None)):
        assert SIGNED_FLOW.to_input(flow, unit)[0, :, 0, 0].tolist() == [[-1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("unit", "scale"),
    [(SOURCE, 1.0), (FlowUnit(20.0, 240), 1.0), (FlowUnit(20.0, 128), 240 / 128), (FlowUnit(8.0, 48), 240 / 48)],
)
def test_a_flow_picture_has_the_published_values(unit: FlowUnit, scale: float) -> None:
    pixels = displacements((2, 3, 8, 12), unit.bound)
    stored = torch.from_numpy(quantize(pixels.astype(np.float32), unit.bound))
    x = PICTURE_FLOW.to_input(stored, unit)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    assert relative(x.double().numpy(), published_input(pixels * scale)) < 1e-3


def test_the_unit_of_a_store_is_the_pixel_of_its_frames() -> None:
    assert FlowUnit.of(PrepareConfig(short_side=96, flow_bound=8.0)) == FlowUnit(8.0, 96)


def test_zero_motion_is_128_in_every_unit() -> None:
    still = torch.full((1, 1, 2, 2, 2), 128, dtype=torch.uint8)
    for unit in (SOURCE, FlowUnit(7.0, 90)):
        x = PICTURE_FLOW.to_input(still, unit)[0, :, 0, 0, 0]
        torch.testing.assert_close(x, torch.tensor((128 / 255 - MEAN) / STD).float())


def test_a_convention_belongs_to_a_stream_and_survives_json() -> None:
    for model in (ModelConfig(), ModelConfig(flow_input="picture")):
        for stream in ("rgb", "flow"):
            convention = InputConvention.of(stream, model, 14 / 15)
            assert convention.stream == stream
            assert InputConvention.model_validate_json(convention.model_dump_json()) == convention


def test_a_pretrainer_converts_flow_from_the_unit_of_the_store() -> None:
    settings = {"backbone": "tiny", "embed_dim": 8, "flow_input": "picture"}
    config = Config.model_validate({"model": settings, "train": {"global_batch_size": 2}, "method": {"queue_size": 0}})
    trainer = Pretrainer(config, torch.device("cpu"), FlowUnit(10.0, 120))
    trainer.start_phase(build_phases(config.schedule)[1])
    pixels = displacements((2, 2, 4, 16, 16), 10.0)
    stored = torch.from_numpy(quantize(pixels.astype(np.float32), 10.0))
    x = trainer.embed_views._input({"flow": stored, "appearance": torch.zeros(2, 2, 8)}, "flow")
    expected = published_input(pixels.swapaxes(0, 1).reshape(4, *pixels.shape[2:]) * 2)
    assert relative(x.double().numpy(), expected) < 1e-3


@pytest.mark.parametrize("color_flow", [False, True])
def test_flow_pictures_may_get_the_colors_of_their_rgb_clips(color_flow: bool) -> None:
    model = {"backbone": "tiny", "embed_dim": 8, "flow_input": "picture"}
    sections = {"model": model, "train": {"global_batch_size": 2}, "method": {"queue_size": 0}}
    config = Config.model_validate({**sections, "clip": {"color_flow": color_flow}})
    trainer = Pretrainer(config, torch.device("cpu"))
    trainer.start_phase(build_phases(config.schedule)[1])
    stored = torch.randint(1, 256, (2, 2, 4, 16, 16, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    appearance = torch.from_numpy(np.tile(plain_appearance(), (2, 2, 1)))
    appearance[1, 0, APPEARANCE.index("gray")] = 1.0
    x = trainer.embed_views._input({"flow": stored, "appearance": appearance}, "flow")
    plain = PICTURE_FLOW.to_input(stored.transpose(0, 1).flatten(0, 1), trainer.flow_unit)
    changed = [n for n in range(4) if not torch.allclose(x[n], plain[n], atol=1e-5)]
    assert changed == ([1] if color_flow else [])  # the first clip of the second sample


def test_colors_on_flow_that_is_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clip\.color_flow.*model\.flow_input"):
        Config.model_validate({"clip": {"color_flow": True}})


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["official_s3d_keys.json", "official_r21d_keys.json"])
def test_a_released_flow_network_computes_on_the_published_input(
    keys: str, golden_dir: Path, published_checkpoint: Callable[[Path], Path]
) -> None:
    """Golden weights, fed by hand, give the features that the package computes from stored flow."""
    path = published_checkpoint(golden_dir / keys)
    unit = FlowUnit(20.0, 128)
    pixels = displacements((2, 16, 64, 64), unit.bound)
    stored = quantize(pixels.astype(np.float32), unit.bound)
    x = torch.from_numpy(published_input(pixels * (240 / 128))).float()
    published = read_published(path)
    parts = {"encoder": find_weights(path, "flow"), "second": published.describe("second", "flow", {})}
    for part, weights in parts.items():
        assert weights.crop_share == pytest.approx(224 / 240)
        with torch.inference_mode():
            expected = published.build(part).features(x).numpy()
            features = PretrainedEncoder(weights, unit).eval()(stored).numpy()
        assert relative(features.astype(float), expected.astype(float)) < 1e-3
