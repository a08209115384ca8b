"""JSON that somebody else may have written: bounded in size and depth, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vicc_ray.errors import UserError
from vicc_ray.regular_file import open_regular

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
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read as {what} ({reason}); {remedy}") from None
    return content


def read_bounded(path: Path, largest: int) -> bytes:
    """The content of a small file.

    Raises:
        OSError: it is not there, no regular file, or cannot be read.
        ValueError: it has more than ``largest`` bytes.
    """
    with open_regular(path) as file:
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
