"""What the pages say exists does: commands, settings, files of the project, links and anchors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, ROOT_PAGES, anchors, commands, name_of, settings
from vicc_ray.cli.main import build_parser
from vicc_ray.config.loader import load_config
from vicc_ray.config.messages import sections, setting_names
from vicc_ray.training.monitoring.rules import STATE, TREND

COMMANDS = sorted({tuple(words) for page in PAGES for words in commands(page.read_text())})
PLACEHOLDER = re.compile(r"[<>*{]|\.\.\.|mine\.py|NAME")
TOP_FOLDERS = "vicc_ray|tests|benchmarks|cluster|sweeps|requirements|docs|examples"


def test_the_pages_show_commands_of_every_area() -> None:
    verbs = {words[0] for words in COMMANDS}
    assert verbs >= {
        "run",
        "prepare",
        "pretrain",
        "evaluate",
        "classify",
        "sweep",
        "index",
        "serve",
        "submit",
        "doctor",
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_parses_and_its_settings_change_something(words: tuple[str, ...]) -> None:
    options = build_parser().parse_args(words)
    recipe = getattr(options, "recipe", "demo")
    base = recipe if recipe in ("demo", "ucf101-s3d", "ucf101-r2plus1d") else "demo"
    for override in getattr(options, "overrides", []):
        if not override.startswith(("method.objective=", "train.validation_fraction=", "schedule.cross_stream=")):
            assert load_config(base, [override]) != load_config(base, [])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_on_a_page_exists(page: Path) -> None:
    known, parts = set(setting_names()), set(sections())
    named = {key for key in settings(page.read_text()) if key.split(".")[0] in parts}
    assert sorted(named - known) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_project_file_on_a_page_exists(page: Path) -> None:
    named = re.findall(rf"(?<![\w/.-])((?:{TOP_FOLDERS})/[\w./*<>{{}}-]+)", page.read_text())
    assert [path for path in named if not PLACEHOLDER.search(path) and not (ROOT / path.rstrip("./")).exists()] == []


@pytest.mark.parametrize("page", ROOT_PAGES, ids=name_of)
def test_links_of_root_pages_resolve(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text())
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists()
        assert not anchor or anchor in anchors(target.read_text())


def test_every_kind_of_warning_is_described() -> None:
    described = (ROOT / "docs" / "reference" / "run-directory.md").read_text().split("## Warnings", 1)[1]
    assert [kind for kind in (*STATE, *TREND) if f"`{kind}`" not in described] == []
