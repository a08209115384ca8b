"""Validating reader for untrusted JSON: bounded in size and depth; every problem is a UserError."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import unreadable
from vicc_ray.utils.regular_file import open_regular

T = TypeVar("T")
LARGEST = 256 * 2**20
"""Largest file in bytes; the plan of a million videos is smaller."""
DEEPEST = 64
"""Deepest nesting of brackets."""


def read_json(path: Path, what: str, remedy: str, largest: int = LARGEST) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        what: name of the content for the message, such as "the description of a clip store".
        remedy: what the user should do about a damaged file.
        largest: most bytes to read.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file cannot be read, is too large or too deep, or holds no object.
    """
    try:
        content = parse_json(read_bounded(path, largest))
        if not isinstance(content, dict):
            raise ValueError(f"{type(content).__name__} instead of an object")
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise (unreadable(path) or UserError(f"{path} cannot be read as {what} ({reason}); {remedy}")) from None
    return content


def read_typed(path: Path, kind: type[T], what: str, remedy: str) -> T:
    """The object in a JSON file as an instance of the dataclass ``kind``; undeclared names are dropped.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`read_json`, or a declared name is missing or has another type.
    """
    return _read_kind(path, kind, what, remedy)[1]


def read_validated(path: Path, kind: type[Any], what: str, remedy: str) -> dict[str, Any]:
    """The object in a JSON file as a dict, validated against the dataclass ``kind``; undeclared names stay.

    Raises:
        FileNotFoundError, UserError: as :func:`read_typed`.
    """
    return _read_kind(path, kind, what, remedy)[0]


def _read_kind(path: Path, kind: type[T], what: str, remedy: str) -> tuple[dict[str, Any], T]:
    content = read_json(path, what, remedy)
    try:
        return content, validate_as(content, kind)
    except ValueError as error:
        raise UserError(f"{path} cannot be read as {what} ({error}); {remedy}") from None


def validate_as(content: Any, kind: type[T]) -> T:
    """Parsed JSON as an instance of ``kind``; see :func:`read_typed`.

    Raises:
        ValueError: a declared name is missing or has another type.
    """
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_json(json.dumps(content), strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:60] for part in first["loc"]) or "the whole content"
        raise ValueError(f"{place}: {first['msg'][:200]}") from None


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_bounded(path: Path, largest: int, opener: Callable[[Path], BinaryIO] = open_regular) -> bytes:
    """Bytes of a small file.

    Args:
        opener: :func:`open_given` for files that the user named.

    Raises:
        OSError: the file is missing, is not a regular file, or cannot be read.
        ValueError: the file has more than ``largest`` bytes.
    """
    with opener(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"more than {largest:,} bytes")
    return content


def parse_json(content: bytes | str) -> Any:
    """Parse JSON in UTF-8.

    Raises:
        ValueError: not JSON, or nested deeper than :data:`DEEPEST`.
    """
    try:
        parsed = json.loads(content if isinstance(content, str) else content.decode())
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None
    _check_depth(parsed)
    return parsed


def _check_depth(parsed: Any) -> None:
    """Check the depth level by level: recursion would fail on the very input that is refused."""
    level = [parsed]
    for _ in range(DEEPEST):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} levels deep")


def _children(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
