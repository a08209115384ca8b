"""A run's settings as its folder has them, shown with what each means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vicc_ray.config import Config, ConfigSection
from vicc_ray.config.loader import load_config, recipe_names
from vicc_ray.config.yaml import read_yaml
from vicc_ray.errors import UserError


def read_settings(path: Path) -> dict[str, Any]:
    """The content of ``config.yaml``, {} where there is none.

    Raises:
        UserError: it cannot be read, or is not YAML.
    """
    if not path.exists():
        return {}
    try:
        content = read_yaml(path, str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return content if isinstance(content, dict) else {}


def as_config(config: dict[str, Any]) -> Config:
    """The settings of ``config.yaml`` as they are, unchecked: the run of another version can be told of too."""
    fields = {name: field.default for name, field in Config.model_fields.items()}
    given: dict[str, Any] = {name: config[name] for name in fields if name in config}
    for name, default in fields.items():
        if isinstance(default, ConfigSection):
            given[name] = type(default).model_construct(**config.get(name, {}))
    return Config.model_construct(**given)


def recipe_of(config: dict[str, Any]) -> str:
    """The packaged recipe that a run was made with, by its ``name``; "" where it has a name of its own."""
    name = str(config.get("name", ""))
    return name if name in recipe_names() else ""


def settings(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings by section, each with its documentation and whether it is other than in :func:`recipe_of`, or than
    the default where the run has no packaged recipe.
    """
    recipe = recipe_of(config)
    base = load_config(recipe) if recipe else Config()
    rest = {key: value for key, value in config.items() if not isinstance(value, dict)}
    sections = [{"name": "run", "rows": [_setting(base, key, value) for key, value in rest.items()]}] if rest else []
    for name in Config.model_fields:
        value, section = config.get(name), getattr(base, name)
        if isinstance(value, dict) and isinstance(section, ConfigSection):
            sections.append({"name": name, "rows": [_setting(section, key, v) for key, v in value.items()]})
    return sections


def plain(value: Any) -> Any:
    """A setting as JSON and YAML have it."""
    if isinstance(value, ConfigSection):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _setting(section: ConfigSection, key: str, value: Any) -> dict[str, Any]:
    field = type(section).model_fields.get(key)
    before = section.model_dump(mode="json").get(key)
    return {
        "key": key,
        "value": value,
        "help": (field.description or "") if field else "",
        "changed": value != before,
    }
