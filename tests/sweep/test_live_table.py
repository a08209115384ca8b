from __future__ import annotations

import pytest

from vicc_ray.sweep.live_table import follow_sweep, leaderboard
from vicc_ray.sweep.trial import Cost, Score, State, Trial


def trial(number: int, state: State, recall: float | None = None, reason: str = "") -> Trial:
    curve = [] if recall is None else [Score(4, recall, recall - 0.1, recall + 0.1, 60.0)]
    return Trial(number, {"stage2.num_prototypes": 10 + number}, state, reason, recall, Cost(4.0, 60.0), curve)


def test_without_a_terminal_each_change_is_logged_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [trial(0, "running")]
    with follow_sweep(lambda: list(trials), 3, lambda: "the stage 1 is trained"):
        trials[:] = [trial(0, "complete", 0.5), trial(1, "failed", reason="out of memory")]
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("trial 0 of 3, complete: R@1 50.0 % at epoch 4  num_prototypes 10") for line in lines)
    assert any(line.startswith("trial 1 of 3, failed: out of memory  num_prototypes 11") for line in lines)
    assert lines.count("the stage 1 is trained") == 1


def test_the_table_lists_running_trials_first_then_the_best() -> None:
    trials = [trial(0, "pruned", 0.9), trial(1, "complete", 0.2), trial(2, "complete", 0.4), trial(3, "running")]
    table = leaderboard(trials, 5, 12.0, "runs with fresh seeds: 1 of 4 trained")
    assert str(table.title) == "3 of 5 trials, about 12 min left; runs with fresh seeds: 1 of 4 trained"
    assert list(table.columns[0].cells) == ["3", "2", "1", "0"]
