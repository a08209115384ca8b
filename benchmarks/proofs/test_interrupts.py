"""Verbs that work for long, interrupted in their middle, twice in quick succession.

At their start and for verbs without Ray: tests/utils/test_interruption.py; a training in the middle and while it waits
for places: tests/pipelines/train/test_interrupts.py.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interrupts import Ended, interrupted
from tests.pipelines.runs import rgb_alone, settings
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
    """What verbs work on, and where they write to."""

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
    """A verb: its arguments, and a file that is there once it is in its middle."""

    arguments: Callable[[Workspace], list[str | Path]]
    middle: str


def _run(place: Workspace) -> list[str | Path]:
    return [place.recipe(settings(**LONG)), "--videos", place.videos, "--out", place.out / "job"]


def _prepare(place: Workspace) -> list[str | Path]:
    return [place.recipe(settings()), "--videos", place.videos, "--store", place.out / "store"]


def _pretrain(place: Workspace) -> list[str | Path]:
    return [place.recipe(rgb_alone(5000)), "--store", place.store, "--run", place.out / "run"]


def _classify(place: Workspace) -> list[str | Path]:
    more = ["--set", "classify.finetune_epochs=5000", "--set", "classify.global_batch_size=4"]
    return ["--run", place.run, "--store", place.store, "--out", place.out / "classes", "--mode", "finetune", *more]


def _sweep(place: Workspace) -> list[str | Path]:
    place.out.mkdir(exist_ok=True)
    return [sweep_file(place.out), "--store", place.store, "--out", place.out / "sweep"]


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
def place(store: Path, trained: Path, videos: Path, tmp_path: Path) -> Workspace:
    return Workspace(store, trained, videos, tmp_path / "out")


@pytest.mark.parametrize("verb", CASES)
def test_in_the_middle_twice_in_quick_succession(verb: str, place: Workspace, tmp_path: Path) -> None:
    """SIGTERM and SIGINT in turns."""
    case, signum = CASES[verb], (signal.SIGINT, signal.SIGTERM)[list(CASES).index(verb) % 2]
    command = ["-m", "vicc_ray", verb, *case.arguments(place)]
    ended = interrupted(
        command, lambda _: any(place.out.glob(case.middle)), signum, tmp_path / "printed", again=lambda _: True
    )
    _is_well(ended, verb, signum)


def _is_well(ended: Ended, verb: str, signum: signal.Signals) -> None:
    assert (ended.code, ended.left) == (128 + signum, []), ended.errors
    assert ended.seconds < LIMIT_S
    assert ended.told < 1.0
    last = ended.errors.splitlines()[-1]
    assert last == ("stopped; the same command continues" if verb in RESUMABLE else "stopped")
    assert "Traceback" not in ended.errors
