"""Strict YAML: duplicate keys are errors, 1e-3 is a number, yes and no are strings, dates are strings.

A file may be untrusted. Aliases, which expand a small text to a large object, deep nesting and very long numbers are
rejected while parsing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from vicc_ray.errors import UserError
from vicc_ray.utils.regular_file import NotRegularError, open_given
from vicc_ray.utils.visible_text import visible

MAX_BYTES = 2**18
"""Maximum size of a text: ten times the longest recipe with its documentation."""
MAX_DEPTH = 32
"""Maximum nesting of mappings and lists."""
MAX_DIGITS = 19
"""Maximum number of digits of a whole number."""


class _Loader(yaml.SafeLoader):
    """Loader that resolves plain scalars by the core schema of YAML 1.2, not 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.NodeEvent = self.peek_event()
        if problem := _rejection(event, self._depth):
            raise _yaml_error(problem, event)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _yaml_error("a key must be a word", key)
            if key.value in seen:
                raise _yaml_error(f"{key.value!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml_error(problem: str, where: Any) -> yaml.MarkedYAMLError:
    """Error at an event or a node."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


def _rejection(event: yaml.NodeEvent, depth: int) -> str:
    """Error message for a feature that is not supported, with what to do; "" if the node is accepted."""
    if event.anchor is not None:  # an alias has one too
        return "aliases (*name) and anchors (&name) are not supported; repeat the value where it is needed"
    if getattr(event, "tag", None) is not None:
        return "tags (!name, !!name) are not supported; write the value alone, text in quotes"
    if depth >= MAX_DEPTH:
        return f"more than {MAX_DEPTH} nested mappings and lists; close a bracket, or indent less"
    return ""


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value.lstrip("+-")) > MAX_DIGITS:
        raise _number_error(node, f"a whole number has at most {MAX_DIGITS} digits")
    return int(node.value)


def _real_number(loader: _Loader, node: yaml.ScalarNode) -> float:
    number = float(node.value)
    if math.isinf(number):
        raise _number_error(node, "too large for a number")
    return number


def _number_error(node: yaml.ScalarNode, why: str) -> yaml.MarkedYAMLError:
    given = node.value if len(node.value) <= 24 else f"{node.value[:20]}... ({len(node.value)} characters)"
    return _yaml_error(f"{given}: {why}; put text in quotes", node)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _real_number)


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes strings which :class:`_Loader` would not read as strings."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


for _tag, _pattern in {
    "null": "~|null|",
    "bool": "true|false",
    "int": "[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def parse_yaml(text: str, source: str) -> object:
    """Content of a YAML text: mappings, lists, strings, numbers, booleans and None.

    Raises:
        UserError: the text is not valid YAML, has a duplicate key, or uses an unsupported feature (see the module's
            docstring). The message names ``source`` and the line.
    """
    if len(text) > MAX_BYTES:
        raise _too_long(source)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{source}, line {number}: the character #x{error.character:04x} is not allowed in YAML"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{line}: {error.problem or 'not valid YAML'}") from error


def read_yaml(path: Path, source: str) -> object:
    """Content of a YAML file; see :func:`parse_yaml`.

    Raises:
        OSError: the file cannot be read.
        UserError: see :func:`parse_yaml`; or the file is not regular or not UTF-8.
    """
    try:
        with open_given(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (NotRegularError, ValueError):  # ValueError: a path with a null
        raise UserError(f"{source}: not a regular file; give the path of a YAML file") from None
    if len(content) > MAX_BYTES:
        raise _too_long(source)
    try:
        return parse_yaml(content.decode("utf-8"), source)
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{source}, line {number}: not UTF-8 text; save the file in UTF-8") from error


def _too_long(source: str) -> UserError:
    return UserError(
        f"{source}: longer than {MAX_BYTES:,} bytes, the maximum; give the YAML file of a recipe or a sweep"
    )


def format_document(content: object) -> str:
    """YAML document that :func:`parse_yaml` reads back equal."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def format_value(value: object) -> str:
    """Value on one line that :func:`parse_yaml` reads back equal, with invisible characters escaped."""
    text = _dumped(value, allow_unicode=True)
    return text if text == visible(text) else _dumped(value, allow_unicode=False)


def short_value(value: object) -> str:
    """Value for tables and charts: floats have three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else format_value(value)


def _dumped(value: object, allow_unicode: bool) -> str:
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9, allow_unicode=allow_unicode)
    return text.removesuffix("\n").removesuffix("\n...")
