"""Types of the arguments that are paths: what is written, what is read from this machine, what may be an address."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vicc_ray.errors import UserError
from vicc_ray.utils.local_paths import READ_HERE, WRITTEN_HERE, is_address, local_path

T = TypeVar("T")


def output_path(text: str) -> Path:
    """A folder or file to write."""
    return _told(lambda: local_path(text, WRITTEN_HERE))


def input_path(text: str) -> Path:
    """A folder or file of this machine to read."""
    return _told(lambda: local_path(text, READ_HERE))


def path_or_address(text: str) -> str:
    """A folder or file of this machine, or an address."""
    return text if is_address(text) else str(_told(lambda: local_path(text)))


def _told(make: Callable[[], T]) -> T:
    """Turn the user's errors into argparse's, which name the argument."""
    try:
        return make()
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
