"""MkDocs hook: reference pages made from the code at build time, and the project's root pages, in the site.

Settings and commands are declared once, in the configuration and in the argument parser. Their pages are rendered from
there, so that they cannot differ from what the program accepts.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mkdocs.structure.files import File, Files
from pydantic import BaseModel

import vicc_ray
from vicc_ray.cli.main import build_parser
from vicc_ray.config import Config
from vicc_ray.config.loader import recipe_names
from vicc_ray.config.messages import allowed, sections
from vicc_ray.config.yaml import format_value
from vicc_ray.sweep.config import SearchedSetting, SweepConfig

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "vicc_ray" / "config" / "recipes"
PROJECT_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
EXTENSION_POINTS = (
    "vicc_ray.models.backbones.base.Backbone",
    "vicc_ray.method.objective.Objective",
    "vicc_ray.training.trackers.async_tracker.Tracker",
    "vicc_ray.datasets.base.AnnotationFormat",
)
REST_ROLE = re.compile(r":(?:class|func|meth|mod|attr):`([^`]+)`")
DOUBLE_BACKTICKS = re.compile(r"``([^`]+)``")

log = logging.getLogger("mkdocs.hooks.reference")


def on_files(files: Files, config: Any) -> Files:
    """Add every generated page."""
    for path, content in generated_pages():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Warn, and thereby fail the strict build, about an external link that is no address."""
    for address in re.findall(r'href="(https?:[^"]*)"', html):
        parts = urlsplit(address)
        if not parts.hostname or re.search(r"\s", address):
            log.warning("%s: %s is not an address", page.file.src_uri, address)
    return html


def generated_pages() -> Iterator[tuple[str, str]]:
    """Path below ``docs`` and Markdown of each page that is made at build time."""
    yield "reference/settings.md", settings_page()
    yield "reference/sweep-file.md", sweep_page()
    yield "reference/recipes.md", recipes_page()
    yield "reference/commands.md", commands_page()
    yield "reference/python-api.md", api_page()
    for name in PROJECT_PAGES:
        yield f"project/{name.lower()}", (ROOT / name).read_text().replace("](docs/", "](../")


def settings_page() -> str:
    """Every setting of a recipe."""
    head = """# Settings

Every setting of a recipe, generated from `vicc_ray/config`. Change one with `--set SECTION.NAME=VALUE`, or write a
recipe of your own: `vicc-ray config demo > mine.yaml`, edit it, and pass its path in place of the recipe's name. The
defaults are those of the published runs; the [packaged recipes](recipes.md) say what they change.
"""
    top = [name for name in Config.model_fields if name not in sections()]
    parts = [head, "## Top level\n", _table(Config, "", Config, top)]
    for name, section in sections().items():
        parts += [f"## {name}\n", f"{_markdown(section.__doc__ or '')}\n", _table(section, f"{name}.", Config)]
    return "\n".join(parts)


def sweep_page() -> str:
    """Every key of a sweep file."""
    head = """# Sweep file

Every key of a sweep file, generated from `vicc_ray/sweep/config.py`. Three examples are in `sweeps/`. How a sweep uses
them: [Sweeps](../explanation/sweeps.md).
"""
    parts = [head, "## Top level\n"]
    parts.append(_table(SweepConfig, "", SweepConfig, [n for n in SweepConfig.model_fields if n not in _nested()]))
    for name, section in _nested().items():
        parts += [f"## {name}\n", f"{_markdown(section.__doc__ or '')}\n", _table(section, f"{name}.", SweepConfig)]
    parts += ["## One searched setting\n", _table(SearchedSetting, "", SearchedSetting)]
    return "\n".join(parts)


def recipes_page() -> str:
    """The packaged recipes as they are written."""
    head = "# Recipes\n\nThe packaged recipes: what each changes in the [defaults](settings.md), and why.\n"
    blocks = [f"## {name}\n\n```yaml\n{(RECIPES / f'{name}.yaml').read_text()}```\n" for name in recipe_names()]
    return "\n".join([head, *blocks])


def commands_page() -> str:
    """Every command with its arguments and examples."""
    parser = build_parser()
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    head = "# Commands\n\nEvery command of `vicc-ray`, generated from its argument parser. `-h` shows the same.\n"
    return "\n".join([head, *(_command(name, verb) for name, verb in verbs.choices.items())])


def api_page() -> str:
    """The public functions, and what an extension implements; mkdocstrings fills in the docstrings."""
    names = sorted(f"vicc_ray.{name}" for name in vicc_ray.__all__ if name != "__version__")
    head = """# Python API

The names in `vicc_ray.__all__`, importable from `vicc_ray` itself, and the classes that an extension implements. None
of them needs Ray. [Use the encoder in your own code](../how-to/use-the-encoder.md) has an example.
"""
    return "\n".join(
        [
            head,
            "## Public names\n",
            *map(_directive, names),
            "## Extension points\n",
            *map(_directive, EXTENSION_POINTS),
        ]
    )


def _directive(name: str) -> str:
    return f"::: {name}\n    options:\n      heading_level: 3\n"


def _nested() -> dict[str, type[BaseModel]]:
    """The sections of a sweep file."""
    return sections(SweepConfig)


def _table(model: type[BaseModel], prefix: str, root: type[BaseModel], names: list[str] | None = None) -> str:
    """Name, default, what is allowed, meaning: a row for each setting."""
    rows = ["| setting | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for name in names or model.model_fields:
        field = model.model_fields[name]
        default = "" if field.is_required() else format_value(_plain(field.get_default(call_default_factory=True)))
        key = f"{prefix}{name}"
        cells = [
            f"`{key}`",
            f"`{default}`" if default else "",
            _described(key, root),
            _markdown(field.description or ""),
        ]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _plain(value: object) -> object:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _described(key: str, root: type[BaseModel]) -> str:
    """What a setting may be, in words; nothing where its type says no more than that it is a mapping or any value."""
    words = allowed(key, root)
    return "" if words == "a section of settings" else words


def _command(name: str, verb: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(prog=f"vicc-ray {name}", width=100)
    formatter.add_usage(None, verb._actions, verb._mutually_exclusive_groups, prefix="")
    rows = ["| argument | meaning |", "| --- | --- |"]
    for action in verb._actions:
        if not isinstance(action, argparse._HelpAction):
            rows.append(f"| {_argument(action)} | {_cell(_markdown(verb._get_formatter()._expand_help(action)))} |")
    example = "\n".join(line.removeprefix("  ") for line in (verb.epilog or "").splitlines()[1:])
    description = _as_paragraphs(verb.description or "")
    blocks = [f"## {name}", description, f"```text\n{formatter.format_help().strip()}\n```", "\n".join(rows)]
    return "\n\n".join([*blocks, f"```bash\n{example}\n```" if example else ""]) + "\n"


def _argument(action: argparse.Action) -> str:
    names = ", ".join(f"`{option}`" for option in action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
    if action.nargs == 0:
        value = ""
    text = " ".join(part for part in (names, f"`{value}`" if value else "") if part)
    return _cell(text + (" (required)" if action.required and action.option_strings else ""))


def _as_paragraphs(text: str) -> str:
    """A description for a terminal as Markdown: indented lines stay as they are."""
    blocks = text.strip().split("\n\n")
    return "\n\n".join(f"```text\n{block}\n```" if block.startswith("  ") else _markdown(block) for block in blocks)


def _markdown(text: str) -> str:
    """Text of a docstring or a help line as Markdown: reST's marks become backticks, ``<x>`` is no HTML."""
    text = REST_ROLE.sub(lambda match: f"`{match[1].lstrip('~')}`", text)
    text = DOUBLE_BACKTICKS.sub(r"`\1`", text)
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else _escaped(piece) for piece in pieces)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def _cell(text: str) -> str:
    """One line, in which ``|`` is escaped but in code, where Markdown takes it as it is."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(piece if piece.startswith("`") else piece.replace("|", "\\|") for piece in pieces)
