"""What the page "How do I" says can be done: its commands are commands, its settings settings, its backbone one."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from vicc_ray.cli.main import build_parser
from vicc_ray.config import Config
from vicc_ray.config.loader import load_config
from vicc_ray.datasets import list_videos
from vicc_ray.models.backbones.base import Backbone
from vicc_ray.models.registry import BackboneSpec
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases

PAGE = (Path(__file__).parents[1] / "docs" / "how-do-i.md").read_text()
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.M)]


def commands() -> list[list[str]]:
    """The words of every command of vicc-ray on the page, in blocks and in text."""
    lines = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    found = [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?vicc-ray ", line)]
    text = re.sub(r"^    .*\n", "", PAGE, flags=re.M)
    found += [" ".join(match.split()) for match in re.findall(r"`(vicc-ray [^`]+)`", text)]
    return [shlex.split(command, comments=True)[1:] for command in found]


def test_there_are_commands() -> None:
    assert len(commands()) >= 9
    assert {words[0] for words in commands()} >= {"run", "prepare", "pretrain", "evaluate", "doctor"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_one(words: list[str]) -> None:
    options = build_parser().parse_args(words)
    for override in getattr(options, "overrides", []):
        assert load_config("demo", [override]) != load_config("demo", [])


def test_settings_that_are_named_exist() -> None:
    sections = Config.model_fields
    for section, name in re.findall(r"`(?:--set )?([a-z0-9]+)\.([a-z_]+)(?:=[^`]*)?`", PAGE):
        if section in sections and name not in ("md",):
            assert hasattr(getattr(Config(), section), name)


def test_the_checkpoint_that_a_longer_run_starts_from_is_that_of_the_demos_end(tmp_path: Path) -> None:
    last = build_phases(load_config("demo", []).schedule)[-1]
    name = RunDir(tmp_path).phase_checkpoint(last.index, last.name).name
    assert f"my-run/run/checkpoints/{name}" in PAGE
    longer = build_phases(load_config("demo", ["schedule.cycles=2"]).schedule)
    assert longer[: last.index + 1] == build_phases(load_config("demo", []).schedule)
    assert len(longer) > last.index + 1


def test_the_manifest_keeps_copies_together(tmp_path: Path) -> None:
    (block,) = [block for block in BLOCKS if "path,label,source" in block]
    rows = [line for line in block.splitlines() if line.count(",") == 2 and "$" not in line]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    sources = {item.id: item.source for item in list_videos(tmp_path).items}
    assert sources["walk/17.mp4"] == sources["walk/17-small.webm"] != sources["run/4.mp4"]


def test_the_backbone_keeps_the_contract() -> None:
    (block,) = [block for block in BLOCKS if "class MyBackbone" in block]
    code, line = block.rsplit('"mine": ', 1)
    names = {"Backbone": Backbone, "nn": nn, "BackboneSpec": BackboneSpec}
    exec(code, names)
    listed = eval(line.partition("#")[0].strip().rstrip(","), names)
    kind = names[listed.cls]
    for channels in (3, 2):
        network = kind(channels).eval()
        maps = network(torch.zeros(2, channels, listed.min_frames, listed.min_pixels, listed.min_pixels))
        assert maps.shape[:2] == (2, kind.features) and maps.numel() and isinstance(network.layers, nn.Sequential)
