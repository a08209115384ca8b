"""Interruption of long-running commands: two signals in quick succession while they work.

Signals at startup, and commands without Ray: tests/utils/test_interruption.py. A training run in the middle, and
while it waits for placement groups: tests/pipelines/train/test_interrupts.py.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interrupts import Ended, interrupted
from tests.pipelines.runs import rgb_only, settings
from tests.pipelines.sweeps import sweep_file
from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.utils.interruption import RESUMABLE
from vicc_ray.video.synthetic.generate import Scene, make_videos

LIMIT_S = 15.0
LONG = {"schedule": {"rgb_epochs": 5000, "stage1_cosine_epochs": 5000, "flow_epochs": 0, "cycles": 0}}


@dataclass(frozen=True)
class Workspace:
    """Inputs of the commands, and the folder of their outputs."""

    store: Path
    run: Path
    videos: Path
    out: Path

    def recipe(self, config: Config) -> Path:
        self.out.mkdir(exist_ok=True)
        (self.out / "recipe.yaml").write_text(dump_config(config))
        return self.out / "recipe.yaml"


@dataclass(frozen=True)
class Case:
    """A command: its arguments, and a glob of a file that exists once it is working."""

    arguments: Callable[[Workspace], list[str | Path]]
    middle: str


def _run(workspace: Workspace) -> list[str | Path]:
    return [workspace.recipe(settings(**LONG)), "--videos", workspace.videos, "--out", workspace.out / "job"]


def _prepare(workspace: Workspace) -> list[str | Path]:
    return [workspace.recipe(settings()), "--videos", workspace.videos, "--store", workspace.out / "store"]


def _pretrain(workspace: Workspace) -> list[str | Path]:
    return [workspace.recipe(rgb_only(5000)), "--store", workspace.store, "--run", workspace.out / "run"]


def _classify(workspace: Workspace) -> list[str | Path]:
    more = ["--set", "classify.finetune_epochs=5000", "--set", "classify.global_batch_size=4"]
    return [
        "--run",
        workspace.run,
        "--store",
        workspace.store,
        "--out",
        workspace.out / "classes",
        "--mode",
        "finetune",
        *more,
    ]


def _sweep(workspace: Workspace) -> list[str | Path]:
    workspace.out.mkdir(exist_ok=True)
    return [sweep_file(workspace.out), "--store", workspace.store, "--out", workspace.out / "sweep"]


CASES = {
    "run": Case(_run, "job/run/metrics.jsonl"),
    "prepare": Case(_prepare, "store/part-*.parquet"),
    "pretrain": Case(_pretrain, "run/metrics.jsonl"),
    "sweep": Case(_sweep, "sweep/*/*/metrics.jsonl"),
    "classify": Case(_classify, "classes/*/metrics.jsonl"),
}


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    pretrain(settings(), store, run, progress=False)
    return run


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make_videos(folder, classes=2, train=60, test=2, scene=Scene(side=64, frames=40))
    return folder


@pytest.fixture
def workspace(store: Path, trained: Path, videos: Path, tmp_path: Path) -> Workspace:
    return Workspace(store, trained, videos, tmp_path / "out")


@pytest.mark.parametrize("command_name", CASES)
def test_two_signals_in_quick_succession_stop_a_working_command(
    command_name: str, workspace: Workspace, tmp_path: Path
) -> None:
    """SIGINT and SIGTERM alternate over the commands."""
    case, signum = CASES[command_name], (signal.SIGINT, signal.SIGTERM)[list(CASES).index(command_name) % 2]
    command = ["-m", "vicc_ray", command_name, *case.arguments(workspace)]
    ended = interrupted(
        command, lambda _: any(workspace.out.glob(case.middle)), signum, tmp_path / "printed", again=lambda _: True
    )
    _assert_clean_exit(ended, command_name, signum)


def _assert_clean_exit(ended: Ended, command_name: str, signum: signal.Signals) -> None:
    assert (ended.code, ended.left) == (128 + signum, []), ended.errors
    assert ended.seconds < LIMIT_S
    assert ended.first_output_s < 1.0
    last = ended.errors.splitlines()[-1]
    assert last == ("stopped; the same command continues" if command_name in RESUMABLE else "stopped")
    assert "Traceback" not in ended.errors
