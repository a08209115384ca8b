"""Fixtures that several areas of the tests share."""

from __future__ import annotations

import gc
import os
import runpy
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.search.browser import Tab


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files side by side (``make test``): a test that crashes its process fails, and all others run."""
    from tests.crash_tolerant import CrashTolerantFiles

    return CrashTolerantFiles(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep imported modules out of garbage collection: they live until the end, and searching them takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Let the interpreter release modules at its exit; nanobind reports leaks otherwise."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the fast loop leaves out by what a test uses, so that no test has to remember it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent / "pipelines"):
            item.add_marker("ray")  # its conftest.py starts one for all
        if "tab" in getattr(item, "fixturenames", ()):
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
    write = runpy.run_path(str(golden_dir / "official_weights.py"))["main"]
    made: dict[Path, Path] = {}

    def make(keys: Path) -> Path:
        if keys not in made:
            made[keys] = tmp_path_factory.mktemp("published") / f"{keys.stem}.pth.tar"
            write(str(keys), str(made[keys]))
        return made[keys]

    return make


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """Tab of a headless Chromium, which all tests of a file share."""
    from tests.search.browser import browser

    with browser() as opened:
        yield opened
