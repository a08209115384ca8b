"""Trackers: TensorBoard's files read back, and a tracker that fails, hangs or is missing never costs a run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.training.event_file import shown
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.training.trackers import Trackers, async_tracker, check_trackers
from vicc_ray.training.trackers.async_tracker import AsyncTracker
from vicc_ray.training.trackers.run_id import persistent_run_id

TENSORBOARD = Config.model_validate({"train": {"trackers": ["tensorboard"]}})


def test_tensorboard_shows_what_was_logged(tmp_path: Path) -> None:
    trackers = Trackers(tmp_path, TENSORBOARD, resumed_at=0, known={})
    for step in (10, 20):
        trackers.log("step", step, {"loss": step / 10, "learning_rate": 0.5})
    trackers.log("epoch", 20, {"effective_rank": 7.0})
    trackers.close()
    assert trackers.failures() == {}
    assert shown(tmp_path / "tensorboard") == {
        "step/loss": [(10, 1.0), (20, 2.0)],
        "step/learning_rate": [(10, 0.5), (20, 0.5)],
        "epoch/effective_rank": [(20, 7.0)],
    }


def test_a_run_that_goes_on_shows_each_step_once_in_tensorboard(tmp_path: Path) -> None:
    for resumed_at, steps, loss in ((0, (10, 20, 30), 1.0), (20, (30, 40), 2.0)):
        trackers = Trackers(tmp_path, TENSORBOARD, resumed_at, known={"step": 30})
        for step in steps:
            trackers.log("step", step, {"loss": loss})
        trackers.close()
    assert shown(tmp_path / "tensorboard") == {"step/loss": [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)]}


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    trackers = Trackers(tmp_path, Config.model_validate({"train": {"trackers": []}}), resumed_at=0, known={})
    trackers.log("step", 10, {"loss": 1.0})
    trackers.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "package", "wanted"),
    [
        ("tensorboard", "tensorboardX", "tensorboardX"),
        ("mlflow", "mlflow", "vicc-ray[mlflow]"),
        ("wandb", "wandb", "vicc-ray[wandb]"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    name: str, package: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    with pytest.raises(UserError) as caught:
        check_trackers([name])
    assert f"{name} given, but the package {package} is not installed" in str(caught.value)
    assert f"pip install '{wanted}'" in str(caught.value)


def test_installed_trackers_pass() -> None:
    check_trackers(["tensorboard"])
    check_trackers([])


class Stub:
    """Keeps points; fails at the points of a step, and waits at those of another until it is let go."""

    def __init__(self, fails_at: int = -1, waits_at: int = -1) -> None:
        self.points: list[tuple[int, Mapping[str, float]]] = []
        self.fails_at, self.waits_at = fails_at, waits_at
        self.waiting, self.let_go = threading.Event(), threading.Event()
        self.closed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("no route\nto host")
        if step == self.waits_at:
            self.waiting.set()
            self.let_go.wait()
        self.points.append((step, values))

    def close(self) -> None:
        self.closed = True


def test_all_points_are_written_before_the_end() -> None:
    stub = Stub()
    tracker = AsyncTracker("it", lambda: stub)
    for step in range(100):
        tracker.log(step, {"loss": float(step)})
    tracker.close()
    assert [step for step, _ in stub.points] == list(range(100)) and stub.closed and not tracker.failure


def test_a_tracker_that_fails_is_told_of_once_and_left(tmp_path: Path) -> None:
    stub = Stub(fails_at=2)
    tracker = AsyncTracker("it", lambda: stub)
    for step in range(5):
        tracker.log(step, {})
    tracker.close()
    assert [step for step, _ in stub.points] == [0, 1]
    assert "it has stopped (ConnectionError: no route to host)" in tracker.failure


def test_a_tracker_that_cannot_be_opened_is_told_of() -> None:
    def refuse() -> Stub:
        raise PermissionError("no key")

    tracker = AsyncTracker("it", refuse)
    tracker.log(1, {})
    tracker.close()
    assert "PermissionError: no key" in tracker.failure


def test_a_tracker_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_tracker, "MAX_QUEUED", 3)
    monkeypatch.setattr(async_tracker, "CLOSE_S", 0.05)
    stub = Stub(waits_at=0)
    tracker = AsyncTracker("it", lambda: stub)
    tracker.log(0, {})
    assert stub.waiting.wait(60)
    for step in range(1, 9):
        tracker.log(step, {})
    assert "3 points behind" in tracker.failure
    tracker.close()
    stub.let_go.set()


def test_failures_of_trackers_are_handed_out_once(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    trackers = Trackers(tmp_path, TENSORBOARD, resumed_at=0, known={})
    trackers.log("step", 10, {"loss": 1.0})
    trackers.close()
    (failure,) = trackers.failures().items()
    assert failure[0] == "tensorboard" and "tensorboard has stopped" in failure[1]
    assert trackers.failures() == {}


def test_a_run_keeps_its_name_in_a_tracker(tmp_path: Path) -> None:
    assert persistent_run_id(tmp_path, "wandb", lambda: "first") == "first"
    assert persistent_run_id(tmp_path, "wandb", lambda: "second") == "first"
    assert persistent_run_id(tmp_path, "mlflow", lambda: "third") == "third"
