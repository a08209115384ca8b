"""Fixtures that several areas of the tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def golden_folder() -> Path:
    """Folder of reference numbers: the variable VICC_GOLDEN_DIR, by default tests/golden."""
    return Path(os.environ.get("VICC_GOLDEN_DIR") or Path(__file__).parent / "golden")


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """See :func:`golden_folder`."""
    return golden_folder()
