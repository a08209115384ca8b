"""A run that stands still is told from one that is disturbed and advances."""

from __future__ import annotations

from pathlib import Path

from vicc_ray.runs.restart_log import RestartLog


def begun(restarts: RestartLog, *beginnings: tuple[int, int]) -> list[int]:
    return [restarts.record_start(step, workers) for step, workers in beginnings]


def test_restarts_without_progress_are_counted(tmp_path: Path) -> None:
    restarts = RestartLog(tmp_path / "restarts.jsonl")
    assert begun(restarts, (0, 2), (0, 2), (0, 2)) == [0, 1, 2]
    assert begun(restarts, (50, 2), (50, 2)) == [0, 1]


def test_a_changed_number_of_workers_resets_the_count(tmp_path: Path) -> None:
    assert begun(RestartLog(tmp_path / "restarts.jsonl"), (7, 4), (7, 3), (7, 4), (7, 4)) == [0, 0, 0, 1]


def test_a_restart_by_the_user_resets_the_count(tmp_path: Path) -> None:
    restarts = RestartLog(tmp_path / "restarts.jsonl")
    assert [restarts.record_start(7, 1, "first"), restarts.record_start(7, 1, "first")] == [0, 1]
    assert [restarts.record_start(7, 1, "second"), restarts.record_start(7, 1, "second")] == [0, 1]


def test_the_last_error_is_kept_and_is_not_a_restart(tmp_path: Path) -> None:
    restarts = RestartLog(tmp_path / "restarts.jsonl")
    assert restarts.error == ""
    restarts.record_start(7, 1)
    for error in ("first", "CUDA out of memory"):
        restarts.record_error(error)
    assert restarts.record_start(7, 1) == 1
    assert restarts.error == "CUDA out of memory"
