"""The pre-commit configuration runs every tool that `make lint` runs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_every_tool_of_make_lint_is_a_hook() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipes = re.findall(r"^(?:lint|audit):.*\n((?:\t.*\n)+)", makefile, re.M)
    wanted = [line.strip().removeprefix("$(BIN)/").removesuffix(" .") for text in recipes for line in text.splitlines()]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in hooks]
    assert len(wanted) >= 5
    assert [tool for tool in wanted if not any(entry.startswith(tool) for entry in entries)] == []
