"""The published recipes against the facts of the released run, written out here."""

from __future__ import annotations

import re

import pytest

from vicc_ray.config.loader import RECIPES as RECIPES_FOLDER
from vicc_ray.config.loader import load_config
from vicc_ray.evaluation.protocol import evaluation_crops, evaluation_windows
from vicc_ray.runs.schedule import build_phases, learning_rate
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler

RECIPES = {"ucf101-s3d": "s3d", "ucf101-r2plus1d": "r2plus1d-small"}
VIDEOS = 9537

FACTS = {
    "prepare": {"flow_method": "tvl1", "flow_bound": 20, "flow_size": "source", "flow_unit": "source", "split_fold": 1},
    "clip": {
        **{"frames": 32, "frame_stride": 1, "size": 128, "short_videos": "repeat_first"},
        **{"crop_scale": (0.2, 1), "crop_ratio": (3 / 4, 4 / 3), "interpolation": "bicubic"},
        **{"flip_prob": 0.5, "negate_flipped_flow": False, "color_flow": True},
        **{"same_clip_prob": 0.5, "same_clip_colored": "one", "two_clips_color_prob": 0.3},
        **{"jitter_prob": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
        **{"jitter_order": "random", "grayscale_prob": 0.2, "grayscale_per_frame": True},
        **{"blur_prob": 0.5, "blur_sigma": (0.1, 2)},
    },
    "model": {"embed_dim": 128, "flow_input": "picture", "init": "normal"},
    "method": {
        **{"num_prototypes": 300, "temperature": 0.1, "sinkhorn_epsilon": 0.05, "sinkhorn_iterations": 3},
        **{"queue_size": 1920, "queue_start_epoch": 200, "rgb_queue_start_epoch": 150},
        **{"freeze_prototypes_epochs": 100, "clip_forward": "separate", "gradient_clips": "first"},
    },
    "optimizer": {
        **{"name": "lars", "lars_scope": "all", "learning_rate": 0.6, "min_lr": 0.0006, "warmup_epochs": 0},
        **{"weight_decay": 1e-6, "momentum": 0.9, "trust_coefficient": 0.001},
    },
    "train": {"global_batch_size": 192, "batch_norm": "local", "drop_last": True, "precision": "fp32"},
    "evaluate": {"protocol": "published", "exclude_same_source": False},
    "classify": {
        **{"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "decay_scope": "all", "global_batch_size": 128},
        **{"probe_epochs": 100, "probe_learning_rate": 0.1, "probe_lr_steps": (60, 80), "lr_schedule": "steps"},
        **{"finetune_epochs": 500, "finetune_learning_rate": 0.1, "finetune_lr_steps": (200, 300, 400, 450)},
        **{"backbone_lr_mult": 1, "dropout": 0.9, "warmup_epochs": 0, "flip_prob": 0, "jitter_prob": 0.3},
        **{"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grayscale_prob": 0, "blur_prob": 0},
    },
}
STAGE2_FACTS = {
    "train": {"global_batch_size": 96},
    "method": {"num_prototypes": 300, "queue_size": 1920, "queue_start_epoch": 25, "freeze_prototypes_epochs": 0},
    "optimizer": {"learning_rate": 0.6, "warmup_epochs": 0},
}


@pytest.mark.parametrize("section", FACTS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_published_recipe_has_the_published_values(recipe: str, section: str) -> None:
    config = load_config(recipe).of_stage(1)
    actual = getattr(config, section).model_dump(include=set(FACTS[section]))
    assert actual == pytest.approx(FACTS[section]) if section == "crop_ratio" else actual == FACTS[section]
    assert config.model.backbone == RECIPES[recipe]


@pytest.mark.parametrize("recipe", RECIPES)
def test_stage_2_has_its_own_batch_queue_and_freeze(recipe: str) -> None:
    config = load_config(recipe).of_stage(2)
    for section, facts in STAGE2_FACTS.items():
        assert getattr(config, section).model_dump(include=set(facts)) == facts
    assert config.train.num_workers.min == config.train.num_workers.max == 4


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_schedule_has_the_published_steps_and_rates(recipe: str) -> None:
    config = load_config(recipe)
    phases = build_phases(config.schedule)
    assert [(phase.stage, phase.stream, phase.epochs, phase.cosine_epochs) for phase in phases] == [
        *((1, "rgb", 300, 500), (1, "flow", 300, 500)),
        *((2, "rgb", 100, 100), (2, "flow", 100, 100)) * 2,
    ]
    sampler = GlobalBatchSampler.of_run(VIDEOS, config, phases)
    assert [sampler.steps_per_epoch(phase) for phase in phases] == [49, 49, 99, 99, 99, 99]
    for phase in phases:
        assert learning_rate(config.optimizer, phase, phase.first_epoch) == pytest.approx(0.6)
    end_of_stage2 = learning_rate(config.optimizer, phases[-1], phases[-1].last_epoch)
    assert end_of_stage2 == pytest.approx(0.0006)
    assert learning_rate(config.optimizer, phases[0], 299.99) > 0.2  # the cosine of 500 epochs stops at 300


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_video_of_ucf101_is_tested_in_windows_every_15_frames(recipe: str) -> None:
    config = load_config(recipe)
    assert len(evaluation_windows(186, config.clip, config.evaluate)) == 11
    height, width, grid = 240, 320, config.prepare.grid
    (center,) = evaluation_crops(height, width, grid, config.evaluate, "retrieval")
    assert (center.height, center.width, center.flip) == (224, 224, False)
    assert len(evaluation_crops(height, width, grid, config.evaluate, "classification")) == 10


def test_the_tuned_recipe_differs_in_the_lines_that_it_marks_and_no_other() -> None:
    tuned = (RECIPES_FOLDER / "ucf101-s3d-tuned.yaml").read_text()
    marked = set(re.findall(r"^  (\w+): .*# \[tuned\]$", tuned, re.M))
    one, other = (load_config(name).model_dump() for name in ("ucf101-s3d", "ucf101-s3d-tuned"))
    differing = {
        name
        for section, values in one.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if value != other[section][name]
    }
    assert differing == marked
