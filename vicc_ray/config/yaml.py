"""YAML without its traps: duplicated keys are errors, 1e-3 is a number, yes and no are words, dates are text.

A file may come from somebody else, so what makes a small text large (aliases), or reading it fail (depth, endless
numbers), is refused before anything is made of it.
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

MOST_BYTES = 2**18
"""Of one text; the longest recipe with all its documentation has a tenth of it."""
MOST_DEPTH = 32
"""Mappings and lists inside each other."""
MOST_DIGITS = 19
"""Of a whole number: all such fit into 64 bits."""


class _Loader(yaml.SafeLoader):
    """Reads plain scalars as YAML 1.2 does (its core schema), not as 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.NodeEvent = self.peek_event()
        if problem := _refused(event, self._depth):
            raise _problem(problem, event)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key must be a word", key)
            if key.value in seen:
                raise _problem(f"{key.value!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(what: str, where: Any) -> yaml.MarkedYAMLError:
    """``where``: the event or the node that it begins with."""
    return yaml.MarkedYAMLError(problem=what, problem_mark=where.start_mark)


def _refused(event: yaml.NodeEvent, depth: int) -> str:
    """What a node begins with that is not read, and what to do; "" if nothing."""
    if event.anchor is not None:  # an alias has one too
        return "aliases (*name) and anchors (&name) are not read; write the value out where it is needed"
    if getattr(event, "tag", None) is not None:
        return "tags (!name, !!name) are not read; write the value alone, text in quotes"
    if depth >= MOST_DEPTH:
        return f"more than {MOST_DEPTH} mappings and lists inside each other; close a bracket, or indent less"
    return ""


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value.lstrip("+-")) > MOST_DIGITS:
        raise _no_number(node, f"a whole number has at most {MOST_DIGITS} digits")
    return int(node.value)


def _real_number(loader: _Loader, node: yaml.ScalarNode) -> float:
    number = float(node.value)
    if math.isinf(number):
        raise _no_number(node, "no number is as large as that")
    return number


def _no_number(node: yaml.ScalarNode, why: str) -> yaml.MarkedYAMLError:
    given = node.value if len(node.value) <= 24 else f"{node.value[:20]}... ({len(node.value)} characters)"
    return _problem(f"{given}: {why}; text stands in quotes", node)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _real_number)


class _Dumper(yaml.SafeDumper):
    """Quotes what :class:`_Loader` would not read as text."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


for _tag, _pattern in {
    "null": "~|null|",
    "bool": "true|false",
    "int": "[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def parse_yaml(text: str, source: str) -> object:
    """The content of a YAML text: mappings, lists, strings, numbers, booleans and None.

    Raises:
        UserError: the text is not YAML, gives a key twice, or has what is not read here (see the head of this file);
            the message names ``source`` and the line.
    """
    if len(text) > MOST_BYTES:
        raise _too_long(source)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{source}, line {number}: the character #x{error.character:04x} may not stand in YAML"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{line}: {error.problem or 'not valid YAML'}") from error


def read_yaml(path: Path, source: str) -> object:
    """The content of a YAML file; see :func:`parse_yaml`.

    Raises:
        OSError: the file cannot be read.
        UserError: as of :func:`parse_yaml`, or it is no file of UTF-8 text.
    """
    try:
        with open_given(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (NotRegularError, ValueError):  # ValueError: a path with a null
        raise UserError(f"{source}: this is no file; give the path of a file of YAML") from None
    if len(content) > MOST_BYTES:
        raise _too_long(source)
    try:
        return parse_yaml(content.decode("utf-8"), source)
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{source}, line {number}: this is no UTF-8 text; save it with the encoding UTF-8") from error


def _too_long(source: str) -> UserError:
    return UserError(f"{source}: longer than {MOST_BYTES:,} bytes, which no recipe and no sweep is; give one of these")


def format_document(content: object) -> str:
    """A whole text, so that :func:`parse_yaml` reads it back equal."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def format_value(value: object) -> str:
    """One value on one line, so that :func:`parse_yaml` reads it back equal; what a reader would not see is escaped."""
    text = _dumped(value, allow_unicode=True)
    return text if text == visible(text) else _dumped(value, allow_unicode=False)


def short_value(value: object) -> str:
    """One value as tables and charts show it: a float with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else format_value(value)


def _dumped(value: object, allow_unicode: bool) -> str:
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9, allow_unicode=allow_unicode)
    return text.removesuffix("\n").removesuffix("\n...")
