"""The settings of a run, with their documentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicc_ray.config import Config, ConfigSection
from vicc_ray.config.loader import load_config, recipe_names
from vicc_ray.config.yaml import read_yaml
from vicc_ray.errors import UserError
from vicc_ray.reports.run.figure import Figure

if TYPE_CHECKING:
    from vicc_ray.reports.run.data import RunData


def read_settings(path: Path) -> dict[str, Any]:
    """Content of config.yaml; {} if there is none.

    Raises:
        UserError: it cannot be read or is not YAML.
    """
    if not path.exists():
        return {}
    try:
        content = read_yaml(path, str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return content if isinstance(content, dict) else {}


def as_config(config: dict[str, Any]) -> Config:
    """The settings without validation, so that a run of another version can be reported too."""
    fields = {name: field.default for name, field in Config.model_fields.items()}
    values: dict[str, Any] = {name: config[name] for name in fields if name in config}
    for name, default in fields.items():
        if isinstance(default, ConfigSection):
            values[name] = type(default).model_construct(**config.get(name, {}))
    return Config.model_construct(**values)


def recipe_of(config: dict[str, Any]) -> str:
    """Name of the packaged recipe that a run was made with; "" for a run with a name of its own."""
    name = str(config.get("name", ""))
    return name if name in recipe_names() else ""


def setting_rows(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings by section, each with its documentation and whether it was changed.

    Changed means: different from the run's packaged recipe, or from the default if it has none.
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
    """A setting as JSON and YAML represent it."""
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


def _read(data: RunData) -> list[dict[str, Any]]:
    return setting_rows(data.settings)


FIGURE = Figure(110, _read)
