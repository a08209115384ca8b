"""Every registered backbone: shapes, smallest clip, memory layout, training; and properties of single backbones."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import count

import pytest
import torch
from torch import nn
from torchvision.models.video import r2plus1d_18

from vicc_ray.config import ClipConfig, ModelConfig
from vicc_ray.errors import UserError
from vicc_ray.models.backbones.base import Backbone, build_backbone
from vicc_ray.registry import BACKBONES

every_backbone = pytest.mark.parametrize("name", BACKBONES)


def clips(frames: int = 8, pixels: int = 48, batch: int = 2, channels: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, frames, pixels, pixels, generator=torch.Generator().manual_seed(1))


def least(setting: str) -> int:
    """The smallest value that the configuration allows for a setting of ``clip``."""
    return next(bound.ge for bound in ClipConfig.model_fields[setting].metadata if hasattr(bound, "ge"))


def fewest(works: Callable[[int], bool]) -> int:
    return next(n for n in count(1) if works(n))


def works_at(backbone: Backbone, frames: int, pixels: int) -> bool:
    try:
        return backbone(clips(frames, pixels)).numel() > 0
    except RuntimeError:
        return False


@pytest.mark.slow
@every_backbone
@pytest.mark.parametrize("channels", [3, 2])
def test_a_backbone_has_the_declared_input_and_output_channels(name: str, channels: int) -> None:
    backbone = build_backbone(name, channels).eval()
    assert isinstance(backbone, Backbone)
    maps = backbone(clips(channels=channels))
    assert maps.dim() == 5
    assert maps.shape[:2] == (2, backbone.features)


@pytest.mark.slow
@every_backbone
def test_the_registered_minimum_clip_is_minimal(name: str) -> None:
    """A clip with one frame or one pixel less has an empty output, or is below the bounds of the configuration."""
    spec = BACKBONES[name]
    backbone = build_backbone(name).eval()
    frames = fewest(lambda n: works_at(backbone, n, spec.min_pixels))
    pixels = fewest(lambda n: works_at(backbone, spec.min_frames, n))
    assert spec.min_frames == max(frames, least("frames"))
    assert spec.min_pixels == max(pixels, least("size"))


@pytest.mark.slow
@every_backbone
def test_training_on_the_smallest_clip_gives_every_weight_a_gradient(name: str) -> None:
    spec = BACKBONES[name]
    backbone = build_backbone(name).train()
    maps = backbone(clips(spec.min_frames, spec.min_pixels, batch=4))
    maps.square().mean().backward()
    for weight, value in backbone.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), weight


@pytest.mark.slow
@every_backbone
def test_samples_are_independent_in_eval_mode(name: str) -> None:
    backbone = build_backbone(name).eval()
    batch = clips()
    with torch.inference_mode():
        torch.testing.assert_close(backbone(batch)[1:], backbone(batch[1:]), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@every_backbone
def test_channels_last_layout_computes_the_same(name: str) -> None:
    backbone, batch = build_backbone(name).eval(), clips()
    with torch.inference_mode():
        expected = backbone(batch)
        backbone.to(memory_format=torch.channels_last_3d)
        maps = backbone(batch.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(maps, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@every_backbone
def test_equal_seeds_give_equal_weights(name: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_backbone(name).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_unknown_backbone_names_the_allowed_ones() -> None:
    with pytest.raises(UserError, match=re.escape(f"'s4d' given; allowed: {', '.join(BACKBONES)}")):
        build_backbone("s4d")


@every_backbone
def test_the_configuration_accepts_every_registered_backbone(name: str) -> None:
    assert ModelConfig(backbone=name).backbone == name


@pytest.mark.slow
def test_reading_a_recipe_imports_no_torch() -> None:
    """Decoding processes validate the configuration, which names backbones; importing torch would take them seconds."""
    script = (
        "import sys; from vicc_ray.config.loader import load_config; load_config('demo'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_building_one_backbone_imports_no_other() -> None:
    """torchvision is imported only when one of its networks is built."""
    script = (
        "import sys; from vicc_ray.models.backbones.base import build_backbone; build_backbone('tiny');"
        "print('torchvision' in sys.modules, 'vicc_ray.models.backbones.s3d' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_s3d_uses_the_batch_norm_settings_of_the_method_throughout() -> None:
    norms = [m for m in build_backbone("s3d").modules() if isinstance(m, nn.BatchNorm3d)]
    assert len(norms) == 77
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}


@pytest.mark.slow
def test_r2plus1d_18_equals_torchvision_without_the_classifier() -> None:
    backbone, original = build_backbone("r2plus1d-18").eval(), r2plus1d_18().eval()
    stages = [original.stem, original.layer1, original.layer2, original.layer3, original.layer4]
    for stage, original_stage in zip(backbone.layers, stages, strict=True):
        stage.load_state_dict(original_stage.state_dict())
    original.fc = nn.Identity()
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips()).mean(dim=(2, 3, 4)), original(clips()))
