"""Checkpoints on the disk: whole or absent whatever ends the process, and those kept that should be."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forked import FORKED
from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_manager import MAX_PENDING, SCORE, CheckpointManager
from vicc_ray.runs.checkpoint_state import FORMAT, STATE


def made(folder: CheckpointManager, step: int, name: str = "", pending_validation: bool = False) -> str:
    name = name or folder.step(step)
    with folder.commit(name, pending_validation) as tmp:
        (tmp / STATE).write_text(json.dumps({"format": FORMAT, "step": step}))
        (tmp / "model.safetensors").write_bytes(b"weights")
    return name


def names(folder: CheckpointManager) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointManager:
    return CheckpointManager(tmp_path / "checkpoints")


def test_an_interrupted_checkpoint_is_absent_and_its_partial_files_are_removed(folder: CheckpointManager) -> None:
    with pytest.raises(FileNotFoundError), folder.commit("step-00000001") as tmp:
        (tmp / "no folder" / STATE).write_text("")
    assert folder.newest() is None
    assert names(folder) == [".step-00000001.part"]
    folder.clean_partial()
    assert names(folder) == []


def test_a_checkpoint_is_not_replaced_by_one_of_another_step(folder: CheckpointManager) -> None:
    made(folder, 4, "phase-0-rgb-stage1")
    with pytest.raises(UserError, match="phase-0-rgb-stage1: .* step 4 .* step 6"):
        made(folder, 6, "phase-0-rgb-stage1")
    made(folder, 4, "phase-0-rgb-stage1")  # the same again, after a controller was lost


@pytest.mark.parametrize("call", range(1, 16))
def test_a_kill_at_any_system_call_leaves_a_complete_checkpoint(folder: CheckpointManager, call: int) -> None:
    """A child replaces and removes checkpoints; it is killed at its n-th change of the disk."""
    made(folder, 1)
    child = FORKED.Process(target=_replaced, args=(folder.path, call))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    assert folder.newest() is not None
    for path in folder.path.glob("[!.]*"):
        assert {file.name for file in path.iterdir()} == {STATE, "model.safetensors"}


def _replaced(path: Path, call: int) -> None:
    folder = CheckpointManager(path)
    _kill_at(call)
    made(folder, 1)
    made(folder, 2)
    folder.prune(1)


def _kill_at(call: int) -> None:
    """Kill this process before the n-th of its calls that change a name or flush a file."""
    left = [call]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return run

    for name in ("rename", "fsync", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


def test_the_newest_checkpoint_has_the_most_steps_whatever_its_name(folder: CheckpointManager) -> None:
    made(folder, 20, "phase-0-rgb-stage1")
    made(folder, 9)
    assert folder.newest() == folder.path / "phase-0-rgb-stage1"
    made(folder, 20)
    assert folder.newest() == folder.path / "phase-0-rgb-stage1"


def test_pruning_keeps_last_steps_phases_best_and_pending_validation(folder: CheckpointManager) -> None:
    made(folder, 1, "phase-0-rgb-stage1")
    for step in range(2, 7):
        made(folder, step, pending_validation=step == 3)
    assert folder.keep_best(folder.step(2), "rgb", 0.5)
    folder.prune(2)
    steps = [folder.step(step) for step in (3, 5, 6)]
    assert names(folder) == ["best-rgb-00000002", "phase-0-rgb-stage1", *steps]
    folder.clear_pending(folder.step(3))
    folder.prune(2)
    assert folder.step(3) not in names(folder)


def test_checkpoints_pending_validation_are_limited(folder: CheckpointManager) -> None:
    for step in range(10):
        made(folder, step, pending_validation=True)
        folder.prune(1)
    assert len(names(folder)) == MAX_PENDING


def test_finishing_a_run_clears_pending_validation(folder: CheckpointManager) -> None:
    for step in range(4):
        made(folder, step, pending_validation=True)
    made(folder, 4, "phase-0-rgb-stage1", pending_validation=True)
    folder.finish(2)
    assert names(folder) == ["phase-0-rgb-stage1", folder.step(2), folder.step(3)]
    assert not list(folder.path.glob("*/.*"))


def test_the_best_checkpoint_of_each_stream_is_kept(folder: CheckpointManager) -> None:
    scores = {1: ("rgb", 0.3), 2: ("flow", 0.6), 3: ("rgb", 0.5), 4: ("rgb", 0.4)}
    kept = [folder.keep_best(made(folder, step), stream, score) for step, (stream, score) in scores.items()]
    assert kept == [True, True, True, False]
    best = [name for name in names(folder) if name.startswith("best-")]
    assert best == ["best-flow-00000002", "best-rgb-00000003"]
    found = json.loads((folder.path / "best-rgb-00000003" / SCORE).read_text())
    assert found == {"stream": "rgb", "score": 0.5, "from": folder.step(3), "validation_set": ""}
    folder.remove(folder.step(3))
    assert (folder.path / "best-rgb-00000003" / "model.safetensors").read_bytes() == b"weights"


def test_scores_on_different_validation_sets_are_not_compared(folder: CheckpointManager) -> None:
    judged = [("old", 0.9), ("new", 0.5), ("new", 0.4)]
    kept = [folder.keep_best(made(folder, n), "rgb", score, by) for n, (by, score) in enumerate(judged, 1)]
    assert kept == [True, True, False]
    assert [name for name in names(folder) if name.startswith("best-")] == ["best-rgb-00000002"]
