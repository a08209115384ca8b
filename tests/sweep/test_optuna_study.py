"""The study alone knows the search: what was asked and told outlives every process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.sweep.example_sweep import sweep_of
from vicc_ray.sweep.optuna_study import SweepStudy


def opened(folder: Path, **changes: Any) -> SweepStudy:
    return SweepStudy(folder / "study.journal", sweep_of(**changes))


def formula(values: dict[str, Any]) -> float:
    """R@1 that is best at epsilon 0.2 and twelve prototypes."""
    return (
        0.9
        - 0.2 * abs(math.log(values["stage2.sinkhorn_epsilon"] / 0.2)) / 3
        - 0.01 * abs(values["stage2.num_prototypes"] - 12)
    )


@pytest.mark.slow
def test_suggestions_do_not_depend_on_reopening_the_study(tmp_path: Path) -> None:
    def played(folder: Path, reopen: bool) -> list[dict[str, Any]]:
        folder.mkdir()
        study, asked = opened(folder), []
        for _ in range(12):
            if reopen:
                study = opened(folder)
            trial = study.ask()
            asked.append(trial.values)
            study.tell(trial.number, "complete", formula(trial.values), 1.0)
        return asked

    one = played(tmp_path / "one", reopen=False)
    assert one == played(tmp_path / "other", reopen=True)
    assert len({str(values) for values in one}) == 12
    assert all(("stage2.queue_start_epoch" in values) == (values["stage2.queue_size"] > 0) for values in one)


def test_the_recipe_defaults_are_suggested_first_and_once(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert study.ask().values == sweep_of().default
    assert opened(tmp_path).ask().values != sweep_of().default


@pytest.mark.slow
def test_tpe_beats_random_search(tmp_path: Path) -> None:
    best = {}
    for sampler in ("tpe", "random"):
        (tmp_path / sampler).mkdir()
        study = opened(tmp_path / sampler, sampler=sampler, budget={"trials": 40})
        found = []
        for _ in range(40):
            trial = study.ask()
            found.append(formula(trial.values))
            study.tell(trial.number, "complete", found[-1], 1.0)
        best[sampler] = sorted(found)[-10:]
    assert sum(best["tpe"]) > sum(best["random"])


def test_suggested_trials_without_a_result_are_unfinished_after_a_kill(tmp_path: Path) -> None:
    study = opened(tmp_path)
    first, second = study.ask(), study.ask()
    study.tell(first.number, "complete", 0.5, 1.0)
    with (tmp_path / "study.journal").open("a") as torn:
        torn.write('{"op_code": 4, "worker_')
    (tmp_path / "study.journal.lock").symlink_to("nobody")
    again = opened(tmp_path)
    assert again.unfinished() == [second]
    again.tell(second.number, "failed", None, 0.0, "diverged")
    assert not again.unfinished()
    assert [trial.state for trial in opened(tmp_path).trials] == [TrialState.COMPLETE, TrialState.FAIL]


def test_a_result_is_recorded_once(tmp_path: Path) -> None:
    study = opened(tmp_path)
    trial = study.ask()
    study.tell(trial.number, "complete", 0.5, 1.0)
    study.tell(trial.number, "complete", 0.7, 1.0)
    assert study.trials[0].value == 0.5


def test_successive_halving_prunes_two_of_three_also_after_a_restart(tmp_path: Path) -> None:
    settings = {"prune": {"grace_period": 2, "reduction_factor": 3}, "sampler": "random"}
    ended = []
    for number in range(9):
        study = opened(tmp_path, **settings)
        trial = study.ask()
        ended.append(study.report(trial.number, 2, 0.9 - 0.1 * number))
        study.tell(trial.number, "pruned" if ended[-1] else "complete", 0.9 - 0.1 * number, 1.0)
    assert not ended[0]
    assert ended[3:] == [True] * 6
    assert study.trials[-1].state == TrialState.PRUNED
    assert study.trials[-1].intermediate_values == {2: pytest.approx(0.1)}


def test_a_repeated_score_prunes_nothing(tmp_path: Path) -> None:
    study = opened(tmp_path, prune={"grace_period": 1, "reduction_factor": 2})
    better, worse = study.ask(), study.ask()
    study.report(better.number, 1, 0.9)
    assert study.report(worse.number, 1, 0.1)
    assert not study.report(worse.number, 1, 0.1)


def test_two_objectives_are_recorded_without_pruning(tmp_path: Path) -> None:
    study = opened(tmp_path, objectives=["recall_at_1", "minutes"])
    for minutes in (3.0, 2.0, 1.0):
        trial = study.ask()
        assert not study.report(trial.number, 1, 0.0)
        study.tell(trial.number, "complete", minutes / 10, minutes)
    assert [trial.values for trial in study.trials] == [[0.3, 3.0], [0.2, 2.0], [0.1, 1.0]]


def test_a_grid_is_exhausted_once(tmp_path: Path) -> None:
    search = {
        "stage2.sinkhorn_epsilon": {"choices": [0.05, 0.1]},
        "stage2.num_prototypes": {"low": 8, "high": 16, "step": 4},
    }
    study = opened(tmp_path, search_space=search, sampler="grid")
    asked = [study.ask().values for _ in range(6)]
    assert asked == sweep_of(search_space=search).space.grid
    assert len({str(values) for values in asked}) == 6


def test_lists_are_stored_as_text_and_restored_as_lists(tmp_path: Path) -> None:
    areas = [[0.2, 1.0], [0.5, 1.0]]
    settings: dict[str, Any] = {"search_space": {"clip.crop_scale": {"choices": areas}}, "sampler": "grid"}
    study = opened(tmp_path, **settings)
    assert [list(study.ask().values["clip.crop_scale"]) for _ in range(2)] == areas
    assert [list(trial.values["clip.crop_scale"]) for trial in opened(tmp_path, **settings).unfinished()] == areas


def test_optuna_opens_the_journal_file_directly(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for _ in range(6):
        trial = study.ask()
        study.tell(trial.number, "complete", formula(trial.values), 1.0)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    loaded = optuna.load_study(study_name="made", storage=storage)
    assert loaded.best_value == max(trial.value for trial in study.trials if trial.value is not None)
    assert set(study.importances()) <= set(sweep_of().settings.search_space)
    assert sum(study.importances().values()) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_finite_space_is_covered_without_duplicates(tmp_path: Path, sampler: str) -> None:
    search = {
        "stage2.sinkhorn_epsilon": {"low": 0.05, "high": 0.15, "step": 0.05},
        "stage2.num_prototypes": {"choices": [8, 16]},
        "stage2.queue_size": {"choices": [0, 64]},
        "stage2.queue_start_epoch": {"choices": [1, 2], "condition": {"stage2.queue_size": {"above": 0}}},
    }
    changes = {"search_space": search, "sampler": sampler, "budget": {"trials": 99}}
    points = sweep_of(**changes).total
    assert points == 3 * 2 * 3
    asked = []
    for _ in range(points):
        trial = opened(tmp_path, **changes).ask()
        asked.append({key: round(value, 9) for key, value in trial.values.items()})
        opened(tmp_path, **changes).tell(trial.number, "complete", formula(trial.values), 1.0)
    assert all(values not in asked[:place] for place, values in enumerate(asked))
    assert sweep_of(search_space=search, budget={"trials": 5}).total == 5


def test_a_space_of_a_million_points_is_not_enumerated(tmp_path: Path) -> None:
    search = {
        "stage2.sinkhorn_epsilon": {"low": 0.05, "high": 0.25, "step": 0.0002},
        "stage2.num_prototypes": {"low": 8, "high": 1007, "step": 1},
    }
    assert sweep_of(search_space=search, budget={"trials": 50}).total == 50
    assert opened(tmp_path, search_space=search).ask().values.keys() == search.keys()
