"""The examples of the how-to guides do what their pages say: a longer run, a manifest, a backbone."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.docs.pages import ROOT
from vicc_ray.config.loader import load_config
from vicc_ray.datasets import list_videos
from vicc_ray.models.backbones.base import Backbone
from vicc_ray.registry import BackboneSpec
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases

GUIDES = ROOT / "docs" / "how-to"


def block_with(guide: str, words: str) -> str:
    """The indented block of a guide that has these words."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", (GUIDES / guide).read_text(), re.M)
    (block,) = [block for block in map(textwrap.dedent, blocks) if words in block]
    return block


def test_the_longer_run_starts_from_the_last_checkpoint_of_the_demo(tmp_path: Path) -> None:
    last = build_phases(load_config("demo", []).schedule)[-1]
    name = RunDir(tmp_path).phase_checkpoint(last.index, last.name).name
    assert f"my-run/run/checkpoints/{name}" in (GUIDES / "resume-or-extend-a-run.md").read_text()
    longer = build_phases(load_config("demo", ["schedule.cycles=2"]).schedule)
    assert longer[: last.index + 1] == build_phases(load_config("demo", []).schedule)
    assert len(longer) > last.index + 1


def test_the_manifest_keeps_copies_together(tmp_path: Path) -> None:
    block = block_with("group-copies.md", "path,label,source")
    rows = [line for line in block.splitlines() if line.count(",") == 2 and "$" not in line]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    sources = {item.id: item.source for item in list_videos(tmp_path).items}
    assert sources["walk/17.mp4"] == sources["walk/17-small.webm"] != sources["run/4.mp4"]


def test_the_backbone_meets_the_contract() -> None:
    code, line = block_with("add-a-backbone.md", "class MyBackbone").rsplit('"mine": ', 1)
    names: dict[str, Any] = {"Backbone": Backbone, "nn": nn, "BackboneSpec": BackboneSpec}
    exec(code, names)
    listed = eval(line.partition("#")[0].strip().rstrip(","), names)
    kind = names[listed.cls]
    for channels in (3, 2):
        network = kind(channels).eval()
        maps = network(torch.zeros(2, channels, listed.min_frames, listed.min_pixels, listed.min_pixels))
        assert maps.shape[:2] == (2, kind.features) and maps.numel() and isinstance(network.layers, nn.Sequential)
