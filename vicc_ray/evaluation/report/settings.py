"""A run's settings as its folder has them, shown with what each means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vicc_ray.config import Config, Section
from vicc_ray.errors import UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of ``config.yaml``, {} where there is none.

    Raises:
        UserError: it is not YAML.
    """
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML ({error})") from error
    return content if isinstance(content, dict) else {}


def as_config(config: dict[str, Any]) -> Config:
    """The settings of ``config.yaml`` as they are, unchecked: the run of another version can be told of too."""
    fields = {name: field.default for name, field in Config.model_fields.items()}
    given: dict[str, Any] = {name: config[name] for name in fields if name in config}
    for name, default in fields.items():
        if isinstance(default, Section):
            given[name] = type(default).model_construct(**config.get(name, {}))
    return Config.model_construct(**given)


def settings(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings by section, each with its documentation and whether it is other than the default."""
    rest = {key: value for key, value in config.items() if not isinstance(value, dict)}
    sections = (
        [{"name": "run", "rows": [_setting(Config(), key, value) for key, value in rest.items()]}] if rest else []
    )
    for name, field in Config.model_fields.items():
        value = config.get(name)
        if isinstance(value, dict) and isinstance(field.default, Section):
            sections.append({"name": name, "rows": [_setting(field.default, key, v) for key, v in value.items()]})
    return sections


def plain(value: Any) -> Any:
    """A setting as JSON and YAML have it."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _setting(section: Section, key: str, value: Any) -> dict[str, Any]:
    field = type(section).model_fields.get(key)
    default = section.model_dump(mode="json").get(key)
    return {
        "key": key,
        "value": value,
        "help": (field.description or "") if field else "",
        "changed": value != (list(default) if isinstance(default, tuple) else default),
    }
