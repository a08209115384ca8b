"""What the configuration allows, in words: descriptions of settings and messages for wrong ones."""

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
    """Section name -> its class, in the order of declaration."""
    fields = {name: field.annotation for name, field in root.model_fields.items()}
    return {name: kind for name, kind in fields.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def setting_names(root: Model = Config) -> list[str]:
    """Every setting as ``section.name``, and those of no section as ``name``."""
    held = sections(root)
    nested = [f"{section}.{name}" for section, kind in held.items() for name in kind.model_fields]
    return _top_level(root) + nested


def schema_of(key: str, root: Model = Config) -> Schema:
    """JSON schema of a setting (``train.global_batch_size``)."""
    section, _, name = key.rpartition(".")
    kind = sections(root)[section] if section else root
    found: Schema = kind.model_json_schema()["properties"][name]
    return found


def allowed(key: str, root: Model = Config) -> str:
    """What a setting (``train.global_batch_size``) or section (``train``) may be, in words."""
    kind = sections(root).get(key)
    if kind is not None:
        return f"a section of {', '.join(kind.model_fields)}"
    return _in_words(schema_of(key, root))


def suggest(given: str, names: Iterable[str]) -> str:
    """``; did you mean X?`` for the nearest of ``names``, or nothing where none is near."""
    near = difflib.get_close_matches(given, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def explain(error: ValidationError, root: Model = Config) -> str:
    """Every problem on a line of its own: key, given value, what is allowed, nearest right name.

    Args:
        root: what was validated; its sections hold settings, not further sections.
    """
    lines: list[str] = []
    for problem in error.errors():
        line = _unknown(problem, root) if problem["type"] == "extra_forbidden" else _wrong(problem, root)
        if line not in lines:
            lines.append(line)
    return OWN_BREAK.join(lines)


def unknown_setting(key: str, root: Model = Config) -> str:
    """What to say of a setting that does not exist, with the nearest that do."""
    section, nested, _ = key.partition(".")
    leaf = key.rpartition(".")[2]
    kind = sections(root).get(section) if nested else None
    own = [f"{section}.{name}" for name in kind.model_fields] if kind else [*sections(root), *_top_level(root)]
    elsewhere = [name for name in setting_names(root) if name.rpartition(".")[2] == leaf]
    nearest = suggest(key, own) or (f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else "")
    nearest = nearest or suggest(key, setting_names(root))
    return f"{key}: no such setting{nearest} (allowed: {', '.join(name.rpartition('.')[2] for name in own)})"


def _unknown(problem: Any, root: Model) -> str:
    return unknown_setting(".".join(str(part) for part in problem["loc"]), root)


def _wrong(problem: Any, root: Model) -> str:
    path = [part for part in problem["loc"] if isinstance(part, str)]
    key = ".".join(path[: 2 if path and path[0] in sections(root) else 1])
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{key}.{message}" if key else message
    given = format_value(problem["input"])
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        return f"{key}: {given} given; allowed: {allowed(key, root)}{suggest(problem['input'], _choices(key, root))}"
    place = [part + 1 for part in problem["loc"] if isinstance(part, int) and problem["type"] != "missing"]
    where = f"value {place[0]} of {key}" if place else key
    return f"{where}: {given} given; allowed: {allowed(key, root)}"


def _choices(key: str, root: Model) -> list[str]:
    return allowed(key, root).removeprefix(LIST_OF).split(", ")


def _top_level(root: Model) -> list[str]:
    held = sections(root)
    return [name for name in root.model_fields if name not in held]


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
