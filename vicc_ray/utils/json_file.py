"""JSON that somebody else may have written: bounded in size and depth, and never a traceback."""

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
"""Bytes of a file; a plan of a million videos has less."""
DEEPEST = 64
"""Brackets within each other."""


def read_json(path: Path, what: str, remedy: str, largest: int = LARGEST) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        what: the file holds, for the message: "the description of a clip store".
        remedy: what to do where it is damaged.
        largest: bytes that are read.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, is too large or too deep, or holds no object.
    """
    try:
        content = parse_json(read_bounded(path, largest))
        if not isinstance(content, dict):
            raise ValueError(f"no object but a {type(content).__name__}")
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise (unreadable(path) or UserError(f"{path} cannot be read as {what} ({reason}); {remedy}")) from None
    return content


def read_as(path: Path, kind: type[T], what: str, remedy: str) -> T:
    """The object in a JSON file as a ``kind``, a dataclass that declares names and types; other names are left out.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as of :func:`read_json`, or a name is missing or has a value of another type.
    """
    return _read_kind(path, kind, what, remedy)[1]


def read_checked(path: Path, kind: type[Any], what: str, remedy: str) -> dict[str, Any]:
    """The object in a JSON file with all its names, of which those of ``kind`` are there and of their types.

    Raises:
        FileNotFoundError, UserError: as of :func:`read_as`.
    """
    return _read_kind(path, kind, what, remedy)[0]


def _read_kind(path: Path, kind: type[T], what: str, remedy: str) -> tuple[dict[str, Any], T]:
    content = read_json(path, what, remedy)
    try:
        return content, as_kind(content, kind)
    except ValueError as error:
        raise UserError(f"{path} cannot be read as {what} ({error}); {remedy}") from None


def as_kind(content: Any, kind: type[T]) -> T:
    """What JSON says, as a ``kind``; see :func:`read_as`.

    Raises:
        ValueError: a name is missing, or has a value of another type.
    """
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_json(json.dumps(content), strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:60] for part in first["loc"]) or "all of it"
        raise ValueError(f"{place}: {first['msg'][:200]}") from None


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_bounded(path: Path, largest: int, opener: Callable[[Path], BinaryIO] = open_regular) -> bytes:
    """The content of a small file.

    Args:
        opener: :func:`open_given` where the user names the file.

    Raises:
        OSError: it is not there, no regular file, or cannot be read.
        ValueError: it has more than ``largest`` bytes.
    """
    with opener(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"more than {largest:,} bytes")
    return content


def parse_json(content: bytes | str) -> Any:
    """What JSON in UTF-8 says.

    Raises:
        ValueError: it is no JSON, or deeper than :data:`DEEPEST`.
    """
    try:
        parsed = json.loads(content if isinstance(content, str) else content.decode())
    except RecursionError:
        raise ValueError(f"more than {DEEPEST} brackets within each other") from None
    _check_depth(parsed)
    return parsed


def _check_depth(parsed: Any) -> None:
    """Level by level, since what goes into the depth is what has no end."""
    level = [parsed]
    for _ in range(DEEPEST):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError(f"more than {DEEPEST} brackets within each other")


def _children(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
