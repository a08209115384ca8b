"""Argument types for paths: written locally, read locally, or an address in object storage."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vicc_ray.errors import UserError
from vicc_ray.utils.local_paths import READ_HERE, WRITTEN_HERE, is_address, local_path

T = TypeVar("T")


def output_path(text: str) -> Path:
    """Local path to write."""
    return _argument_error(lambda: local_path(text, WRITTEN_HERE))


def input_path(text: str) -> Path:
    """Local path to read."""
    return _argument_error(lambda: local_path(text, READ_HERE))


def path_or_address(text: str) -> str:
    """Local path, or an address in object storage."""
    return text if is_address(text) else str(_argument_error(lambda: local_path(text)))


def _argument_error(make: Callable[[], T]) -> T:
    """Turn a UserError into argparse's error, which names the argument."""
    try:
        return make()
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
