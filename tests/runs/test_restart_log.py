"""A run that stands still is told from one that is disturbed and advances."""

from __future__ import annotations

from pathlib import Path

from vicc_ray.runs.restart_log import RestartLog


def begun(attempts: RestartLog, *beginnings: tuple[int, int]) -> list[int]:
    return [attempts.begin(step, workers) for step, workers in beginnings]


def test_beginnings_at_the_same_step_with_the_same_workers_are_counted(tmp_path: Path) -> None:
    attempts = RestartLog(tmp_path / "attempts.jsonl")
    assert begun(attempts, (0, 2), (0, 2), (0, 2)) == [0, 1, 2]
    assert begun(attempts, (50, 2), (50, 2)) == [0, 1]


def test_another_number_of_workers_is_something_new(tmp_path: Path) -> None:
    assert begun(RestartLog(tmp_path / "attempts.jsonl"), (7, 4), (7, 3), (7, 4), (7, 4)) == [0, 0, 0, 1]


def test_a_user_who_begins_again_has_all_attempts_again(tmp_path: Path) -> None:
    attempts = RestartLog(tmp_path / "attempts.jsonl")
    assert [attempts.begin(7, 1, "first"), attempts.begin(7, 1, "first")] == [0, 1]
    assert [attempts.begin(7, 1, "second"), attempts.begin(7, 1, "second")] == [0, 1]


def test_the_last_error_is_kept_and_counts_as_no_beginning(tmp_path: Path) -> None:
    attempts = RestartLog(tmp_path / "attempts.jsonl")
    assert attempts.error == ""
    attempts.begin(7, 1)
    for error in ("first", "CUDA out of memory"):
        attempts.note_error(error)
    assert attempts.begin(7, 1) == 1
    assert attempts.error == "CUDA out of memory"
