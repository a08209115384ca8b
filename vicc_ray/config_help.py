"""What the configuration allows, in words: descriptions of settings and messages for wrong ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from vicc_ray.config import Config
from vicc_ray.strict_yaml import format_value

Schema = dict[str, Any]
LIST_OF = "a list of any of "
NOUNS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}


def sections() -> dict[str, type[BaseModel]]:
    """Section name -> its class, in the order of declaration."""
    fields = {name: field.annotation for name, field in Config.model_fields.items()}
    return {name: kind for name, kind in fields.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def setting_names() -> list[str]:
    """Every setting as ``section.name``, and those of no section as ``name``."""
    held = sections()
    nested = [f"{section}.{name}" for section, kind in held.items() for name in kind.model_fields]
    return [name for name in Config.model_fields if name not in held] + nested


def allowed(key: str) -> str:
    """What a setting (``train.batch``) or section (``train``) may be, in words."""
    section, _, name = key.partition(".")
    kind = sections().get(section)
    if kind is not None and not name:
        return f"a section of {', '.join(kind.model_fields)}"
    schema: Schema = (kind or Config).model_json_schema()["properties"][name or section]
    return _in_words(schema)


def suggest(given: str, names: Iterable[str]) -> str:
    """``; did you mean X?`` for the nearest of ``names``, or nothing where none is near."""
    near = difflib.get_close_matches(given, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def explain(error: ValidationError) -> str:
    """Every problem on a line of its own: key, given value, what is allowed, nearest right name."""
    lines: list[str] = []
    for problem in error.errors():
        line = _unknown(problem) if problem["type"] == "extra_forbidden" else _wrong(problem)
        if line not in lines:
            lines.append(line)
    return "\n  ".join(lines)


def _unknown(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    key, leaf = ".".join(path), path[-1]
    kind = sections().get(path[0]) if len(path) > 1 else None
    own = [f"{path[0]}.{name}" for name in kind.model_fields] if kind else [*sections(), *_top_level()]
    elsewhere = [name for name in setting_names() if name.rpartition(".")[2] == leaf]
    nearest = suggest(key, own) or (f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else "")
    nearest = nearest or suggest(key, setting_names())
    return f"{key}: no such setting{nearest} (allowed: {', '.join(name.rpartition('.')[2] for name in own)})"


def _wrong(problem: Any) -> str:
    key = ".".join([part for part in problem["loc"] if isinstance(part, str)][:2])
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{key}.{message}" if key else message
    given = format_value(problem["input"])
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        return f"{key}: {given} given; allowed: {allowed(key)}{suggest(problem['input'], _choices(key))}"
    place = [part + 1 for part in problem["loc"] if isinstance(part, int) and problem["type"] != "missing"]
    where = f"value {place[0]} of {key}" if place else key
    return f"{where}: {given} given; allowed: {allowed(key)}"


def _choices(key: str) -> list[str]:
    return allowed(key).removeprefix(LIST_OF).split(", ")


def _top_level() -> list[str]:
    return [name for name in setting_names() if "." not in name]


def _in_words(schema: Schema) -> str:
    if "words" in schema:
        return str(schema["words"])
    if "anyOf" in schema:
        return " or ".join("null" if part.get("type") == "null" else _in_words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array" and "items" in schema:
        return LIST_OF + _in_words(schema["items"])
    if "prefixItems" in schema:
        return f"[{', '.join(map(_in_words, schema['prefixItems']))}]"
    words = NOUNS.get(schema.get("type", ""), "a section of settings")
    words = "an even number" if schema.get("multipleOf") == 2 else words
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{words} from {low:g} to {high:g}"
    bounds = [("minimum", "of at least"), ("maximum", "of at most"), ("exclusiveMinimum", "above")]
    bounds.append(("exclusiveMaximum", "below"))
    parts = [f"{word} {schema[name]:g}" for name, word in bounds if name in schema]
    return " ".join([words, " and ".join(parts)]).strip()
