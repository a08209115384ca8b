"""Reading and writing of recipes: YAML files, packaged or the user's own, with overrides."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vicc_ray.config import Config
from vicc_ray.config.messages import allowed, explain, sections, suggest
from vicc_ray.config.yaml import MAX_DEPTH, format_value, parse_yaml, read_yaml
from vicc_ray.errors import UserError
from vicc_ray.utils.fs import unreadable
from vicc_ray.utils.local_paths import local_path

RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_config(recipe_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """Configuration of a packaged recipe or a YAML file; missing settings have their defaults.

    Args:
        recipe_or_path: name of a packaged recipe (``demo``), or path of a YAML file of the same format.
        overrides: settings as ``section.name=value`` with a YAML value; they take precedence over the file.

    Raises:
        UserError: no such recipe or file, invalid YAML, a duplicate key, or unknown settings or invalid values, each
            named with the given and the allowed values.
    """
    content = _read(recipe_or_path)
    return config_of({} if content is None else _mapping(content, recipe_or_path), recipe_or_path, overrides)


def config_of(settings: dict[str, Any], source: str, overrides: Sequence[str] = ()) -> Config:
    """Configuration of nested ``settings``; error messages name ``source``. See :func:`load_config`."""
    for override in overrides:
        source = f"{source} with --set" if "--set" not in source else source
        _override(settings, override)
    try:
        return Config.model_validate_json(json.dumps(settings, default=str), strict=True)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error)}") from error


def dump_config(config: Config, docs: bool = False) -> str:
    """YAML of all settings, which :func:`load_config` reads back equal; with ``docs``, each below its description."""
    classes = sections()
    lines = [line for name in Config.model_fields if name not in classes for line in _entry(config, name, "", docs)]
    for section, cls in classes.items():
        lines += ["", *_comment(inspect.getdoc(cls) or "", "")] if docs else []
        lines.append(f"{section}:")
        for name in cls.model_fields:
            lines += _entry(getattr(config, section), name, f"{section}.", docs)
    return "\n".join(lines) + "\n"


def _read(recipe_or_path: str) -> object:
    packaged = recipe_or_path in recipe_names()
    path = RECIPES / f"{recipe_or_path}.yaml" if packaged else local_path(recipe_or_path)
    try:
        return read_yaml(path, recipe_or_path)
    except FileNotFoundError as error:
        raise UserError(
            f"no recipe and no file {recipe_or_path!r}{suggest(recipe_or_path, recipe_names())} "
            f"(packaged recipes: {', '.join(recipe_names())}; or give the path of a YAML file)"
        ) from error
    except OSError as error:
        raise (unreadable(path) or UserError(f"{recipe_or_path}: cannot be read as a recipe ({error})")) from error


def _mapping(content: object, source: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{source}: {type(content).__name__} given; a recipe is a mapping of {', '.join(sections())}")
    return content


def _override(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip() or key.count(".") > MAX_DEPTH:
        raise UserError(
            f"--set {override[:80]}: give it as section.name=value, for example --set train.global_batch_size=16"
        )
    value = parse_yaml(text, f"--set {override[:80]}")
    *parents, leaf = key.strip().split(".")
    mapping = settings
    for parent in parents:
        inner = mapping.get(parent)
        mapping[parent] = mapping = inner if isinstance(inner, dict) else {}
    section = mapping.get(leaf, {}) if not parents and leaf in sections() else None
    # A mapping given for a section is merged into the section of the recipe.
    mapping[leaf] = {**section, **value} if isinstance(section, dict) and isinstance(value, dict) else value


def _entry(section: BaseModel, name: str, prefix: str, docs: bool) -> list[str]:
    indent = "  " if prefix else ""
    value = section.model_dump(mode="json")[name]
    line = f"{indent}{name}: {format_value(value)}"
    if not docs:
        return [line]
    description = type(section).model_fields[name].description or ""
    return [*_comment(f"{description} Allowed: {allowed(prefix + name)}.", indent), line]


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
