"""Descriptions of allowed values, and error messages for invalid settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from vicc_ray.config import Config
from vicc_ray.config.yaml import format_value
from vicc_ray.utils.visible_text import OWN_BREAK

Schema = dict[str, Any]
Model = type[BaseModel]
LIST_OF = "a list of any of "
NOUNS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}


def sections(root: Model = Config) -> dict[str, Model]:
    """Section name -> class, in the order of declaration."""
    fields = {name: field.annotation for name, field in root.model_fields.items()}
    return {name: cls for name, cls in fields.items() if isinstance(cls, type) and issubclass(cls, BaseModel)}


def setting_names(root: Model = Config) -> list[str]:
    """All settings as ``section.name``, or ``name`` outside a section."""
    nested = [f"{section}.{name}" for section, cls in sections(root).items() for name in cls.model_fields]
    return _top_level(root) + nested


def schema_of(key: str, root: Model = Config) -> Schema:
    """JSON schema of a setting (``train.global_batch_size``)."""
    section, _, name = key.rpartition(".")
    cls = sections(root)[section] if section else root
    schema: Schema = cls.model_json_schema()["properties"][name]
    return schema


def allowed(key: str, root: Model = Config) -> str:
    """Allowed values of a setting (``train.global_batch_size``), or settings of a section (``train``), as text."""
    section = sections(root).get(key)
    if section is not None:
        return f"a section of {', '.join(section.model_fields)}"
    return _format_schema(schema_of(key, root))


def suggest(given: str, names: Iterable[str]) -> str:
    """``; did you mean X?`` with the closest of ``names``; "" if none is close."""
    near = difflib.get_close_matches(given, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def explain(error: ValidationError, root: Model = Config) -> str:
    """Error message with one line per problem: key, given value, allowed values, closest valid name.

    Args:
        root: class that was validated; its sections must not be nested.
    """
    lines: list[str] = []
    for problem in error.errors():
        line = (
            _format_unknown(problem, root) if problem["type"] == "extra_forbidden" else _format_invalid(problem, root)
        )
        if line not in lines:
            lines.append(line)
    return OWN_BREAK.join(lines)


def unknown_setting(key: str, root: Model = Config) -> str:
    """Error message for an unknown setting, with the closest existing ones."""
    section, nested, _ = key.partition(".")
    leaf = key.rpartition(".")[2]
    cls = sections(root).get(section) if nested else None
    siblings = [f"{section}.{name}" for name in cls.model_fields] if cls else [*sections(root), *_top_level(root)]
    elsewhere = [name for name in setting_names(root) if name.rpartition(".")[2] == leaf]
    nearest = suggest(key, siblings) or (f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else "")
    nearest = nearest or suggest(key, setting_names(root))
    return f"{key}: no such setting{nearest} (allowed: {', '.join(name.rpartition('.')[2] for name in siblings)})"


def _format_unknown(problem: Any, root: Model) -> str:
    return unknown_setting(".".join(str(part) for part in problem["loc"]), root)


def _format_invalid(problem: Any, root: Model) -> str:
    path = [part for part in problem["loc"] if isinstance(part, str)]
    key = ".".join(path[: 2 if path and path[0] in sections(root) else 1])
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{key}.{message}" if key else message
    given = format_value(problem["input"])
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        return f"{key}: {given} given; allowed: {allowed(key, root)}{suggest(problem['input'], _choices(key, root))}"
    position = [part + 1 for part in problem["loc"] if isinstance(part, int) and problem["type"] != "missing"]
    where = f"value {position[0]} of {key}" if position else key
    return f"{where}: {given} given; allowed: {allowed(key, root)}"


def _choices(key: str, root: Model) -> list[str]:
    return allowed(key, root).removeprefix(LIST_OF).split(", ")


def _top_level(root: Model) -> list[str]:
    return [name for name in root.model_fields if name not in sections(root)]


def _format_schema(schema: Schema) -> str:
    if "words" in schema:
        return str(schema["words"])
    if "anyOf" in schema:
        return " or ".join("null" if part.get("type") == "null" else _format_schema(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array" and "items" in schema:
        return LIST_OF + _format_schema(schema["items"])
    if "prefixItems" in schema:
        return f"[{', '.join(map(_format_schema, schema['prefixItems']))}]"
    words = NOUNS.get(schema.get("type", ""), "a section of settings")
    words = "an even number" if schema.get("multipleOf") == 2 else words
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{words} from {low:g} to {high:g}"
    bounds = [("minimum", "of at least"), ("maximum", "of at most"), ("exclusiveMinimum", "above")]
    bounds.append(("exclusiveMaximum", "below"))
    parts = [f"{word} {schema[name]:g}" for name, word in bounds if name in schema]
    return " ".join([words, " and ".join(parts)]).strip()
