"""Recipes and overrides: what is read is what was written, and every mistake is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vicc_ray.config import Config
from vicc_ray.config.loader import RECIPES, dump_config, load_config, recipe_names
from vicc_ray.config.messages import setting_names
from vicc_ray.errors import UserError
from vicc_ray.registry import BACKBONES, TRACKERS


def problem(text: str, tmp_path: Path) -> str:
    """The message for a recipe file of this text, without the file's folder."""
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(str(path))
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_packaged_recipes() -> None:
    assert {"demo", "ucf101-s3d", "ucf101-r2plus1d"} <= set(recipe_names())
    for name in recipe_names():
        assert load_config(name).name == name


@pytest.mark.parametrize("name", ["ucf101-s3d", "ucf101-r2plus1d"])
def test_a_published_run_states_every_setting(name: str) -> None:
    """Nothing is left to defaults that could change under it."""
    given = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    names = {f"{key}.{leaf}" for key, part in given.items() if isinstance(part, dict) for leaf in part}
    assert names | {key for key, part in given.items() if not isinstance(part, dict)} == set(setting_names())
    config = load_config(name)
    assert (config.method.num_prototypes, config.method.sinkhorn_epsilon, config.method.temperature) == (300, 0.05, 0.1)
    assert (config.optimizer.learning_rate, config.optimizer.min_lr) == (0.6, 0.0006)
    assert (config.schedule.rgb_epochs, config.schedule.stage1_cosine_epochs) == (300, 500)


def test_the_run_of_r2plus1d_is_that_of_s3d_with_another_backbone() -> None:
    """What is not known of it is not made up."""
    changed = ["name=ucf101-r2plus1d", "model.backbone=r2plus1d-small"]
    assert load_config("ucf101-s3d", changed) == load_config("ucf101-r2plus1d")


@pytest.mark.parametrize("text", ["1e-3", "no: #x", "null", "2024-01-01", "- a", "ü"])
@pytest.mark.parametrize("docs", [False, True])
@pytest.mark.parametrize("name", recipe_names())
def test_a_dumped_config_reads_back_equal(name: str, docs: bool, text: str, tmp_path: Path) -> None:
    config = load_config(name, [f"name={text!r}", "optimizer.weight_decay=1.23e-7"])
    assert config.name == text
    (tmp_path / "dumped.yaml").write_text(dump_config(config, docs))
    assert load_config(str(tmp_path / "dumped.yaml")) == config


def test_docs_stand_above_every_setting() -> None:
    lines = dump_config(Config(), docs=True).splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        assert line.lstrip().startswith("#") or not line or before.lstrip().startswith("#")
    assert max(map(len, lines)) <= 120
    assert "#" not in dump_config(Config())


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("# nothing\n")
    assert load_config(str(tmp_path / "own.yaml")) == Config()


def test_overrides_win_and_the_last_one_wins() -> None:
    config = load_config(
        "demo", ["train.global_batch_size=6", "clip.crop_scale=[0.3, 0.9]", "seed=1", "train.global_batch_size=8"]
    )
    assert config.train.global_batch_size == 8
    assert config.clip.crop_scale == (0.3, 0.9)
    assert config.clip.frames == load_config("demo").clip.frames
    assert config.seed == 1


def test_a_mapping_for_a_section_leaves_its_other_settings_as_the_recipe_has_them() -> None:
    assert load_config("demo", ["train={global_batch_size: 6}"]) == load_config("demo", ["train.global_batch_size=6"])
    assert load_config("demo", ["train.num_workers={min: 1, max: 2}"]).train.num_workers.max == 2


def test_yaml_traps_are_closed(tmp_path: Path) -> None:
    config = load_config("demo", ["train.use_gpu=no", "optimizer.learning_rate=1e-4", "schedule.final_flow_phase=true"])
    assert config.train.use_gpu == "no"
    assert config.optimizer.learning_rate == 1e-4
    assert config.schedule.final_flow_phase is True
    assert "true given" in problem("train: {global_batch_size: true}", tmp_path)
    assert "1:30 given" in problem("seed: 1:30", tmp_path)


WRONG = {
    "train.global_bacth_size=3": "train.global_bacth_size: no such setting; did you mean train.global_batch_size?",
    "trian.batch=3": "trian: no such setting; did you mean train?",
    "queue_size=0": "queue_size: no such setting; did you mean method.queue_size or stage2.queue_size?",
    "global_batch_size=3": "did you mean stage2.global_batch_size or train.global_batch_size or classify",
    "xyzzy=3": "xyzzy: no such setting (allowed: prepare, clip,",
    "train.global_batch_size=1": "train.global_batch_size: 1 given; allowed: a whole number of at least 2",
    "train.global_batch_size=1.5": "train.global_batch_size: 1.5 given; allowed: a whole number of at least 2",
    "train.global_batch_size=many": "train.global_batch_size: many given; allowed: a whole number of at least 2",
    "train.global_batch_size=": "train.global_batch_size: null given; allowed: a whole number of at least 2",
    "train.global_batch_size.x=1": "train.global_batch_size: {x: 1} given; allowed: a whole number of at least 2",
    "train=3": "train: 3 given; allowed: a section of global_batch_size, ",
    "prepare.flow_method=dsi": "prepare.flow_method: dsi given; allowed: dis, tvl1, farneback; did you mean dis?",
    "model.backbone=r2d": f"allowed: {', '.join(BACKBONES)}",
    "model.backbone=s4d": "model.backbone: s4d given; allowed: s3d, ",
    "model.backbone=r2plus1d_18": "; did you mean r2plus1d-18?",
    "prepare.flow_method=3": "prepare.flow_method: 3 given; allowed: dis, tvl1, farneback",
    "prepare.short_side=8": "prepare.short_side: 8 given; allowed: an even number from 16 to 1080",
    "prepare.short_side=65": "prepare.short_side: 65 given; allowed: an even number from 16 to 1080",
    "evaluate.window_overlap=1": "evaluate.window_overlap: 1 given; allowed: a number of at least 0 and below 1",
    "schedule.cross_stream=1": "schedule.cross_stream: 1 given; allowed: true or false",
    "clip.crop_scale=[0.5]": "clip.crop_scale: [0.5] given; allowed: [a number from 0 to 1, a number from 0 to 1]",
    "clip.crop_scale=[0.5, 2]": "value 2 of clip.crop_scale: 2 given",
    "clip.crop_scale=[0.5, 0.2]": "clip.crop_scale: the first value must not exceed the second (0.5 > 0.2)",
    "train.trackers=tensorboard": f"train.trackers: tensorboard given; allowed: a list of any of {', '.join(TRACKERS)}",
    "train.trackers=[tensorbord]": f"allowed: a list of any of {', '.join(TRACKERS)}; did you mean tensorboard?",
    "train.trackers=[wandb, wandb]": "train.trackers: wandb given 2 times; give it once",
    "stage2.queue_size=-1": "stage2.queue_size: -1 given; allowed: a whole number of at least 0 or null",
    "train.validation_fraction=1": "train.validation_fraction: 1 given; allowed: a number of at least 0 and below 1",
    "clip.frames": "--set clip.frames: give it as section.name=value",
    "=3": "--set =3: give it as section.name=value",
    "clip.size=[3": "--set clip.size=[3, line 1: ",
    "train.global_batch_size=.nan": "train.global_batch_size: .nan given",
    "optimizer.trust_coefficient=.inf": "optimizer.trust_coefficient: .inf given; allowed: a number above 0",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_override_is_named(override: str) -> None:
    with pytest.raises(UserError, match=re.escape(WRONG[override])):
        load_config("demo", [override])


def test_a_clip_too_small_for_its_backbone_is_named() -> None:
    load_config("ucf101-s3d", ["clip.frames=5", "clip.size=18"])
    with pytest.raises(UserError, match="clip: 4 frames of 128 pixels given; model.backbone s3d needs at least 5"):
        load_config("ucf101-s3d", ["clip.frames=4"])


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        load_config("demo", ["train.global_batch_size=1", "clip.size=x"])
    assert "train.global_batch_size: 1" in str(caught.value)
    assert "clip.size: x" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nname: a\nseed: 2", "own.yaml, line 3: 'seed' is given twice"),
        ("train:\n  batch: 4\n  workers: 2\n  batch: 8", "own.yaml, line 4: 'batch' is given twice"),
        ("seed: 1\nname: [a", "own.yaml, line 2: expected"),
        ("train:\n\tbatch: 4", "own.yaml, line 2: found character '\\t'"),
        ("- seed", "own.yaml: list given; a recipe is a mapping of prepare, clip,"),
        ("? [1, 2]\n: 3", "own.yaml, line 1: a key must be a word"),
        ("a: !!python/object/apply:os.mkdir [x]", "own.yaml, line 1: tags"),
        ("seed: 1\x00", "own.yaml, line 1: "),
    ],
)
def test_a_file_that_is_no_recipe(text: str, message: str, tmp_path: Path) -> None:
    assert problem(text, tmp_path).startswith(message)


@pytest.mark.parametrize(("name", "near"), [("deom", "demo"), ("ucf101_s3d", "ucf101-s3d"), ("ucf101", "ucf101-s3d")])
def test_a_wrong_recipe_name_suggests_the_right_one(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"no recipe and no file '{name}'; did you mean {near}\\?.*packaged recipes: "):
        load_config(name)


def test_a_folder_and_a_binary_file_are_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(UserError, match=re.escape(str(path))):
            load_config(str(path))


def test_a_short_side_off_the_grid_of_the_flow_is_named() -> None:
    message = "prepare.short_side: 66 given; with prepare.flow_downscale 4 it must be a multiple of 4"
    with pytest.raises(UserError, match=message):
        load_config("ucf101-s3d", ["prepare.short_side=66", "prepare.flow_downscale=4"])
