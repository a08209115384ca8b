"""Fixtures that several areas of the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files side by side (``make test``): a test that crashes its process fails, and all others run."""
    from tests.crash_tolerant import CrashTolerantFiles

    return CrashTolerantFiles(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the fast loop leaves out by what a test uses, so that no test has to remember it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent / "pipelines"):
            item.add_marker("ray")  # its conftest.py starts one for all
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys and the like lie in a folder of the tests, not in that of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def golden_folder() -> Path:
    """Folder of reference numbers: the variable VICC_GOLDEN_DIR, by default tests/golden."""
    return Path(os.environ.get("VICC_GOLDEN_DIR") or Path(__file__).parent / "golden")


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """See :func:`golden_folder`."""
    return golden_folder()


@pytest.fixture(scope="session")
def published_checkpoint(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Function of a ``*_keys.json``: a checkpoint in the published format, with the golden features' weights."""
    made: dict[Path, Path] = {}

    def make(keys: Path) -> Path:
        if keys not in made:
            made[keys] = tmp_path_factory.mktemp("published") / f"{keys.stem}.pth.tar"
            maker = golden_dir / "official_weights.py"
            subprocess.run([sys.executable, str(maker), str(keys), str(made[keys])], check=True)
        return made[keys]

    return make
