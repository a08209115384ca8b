"""What trials compute: the recipe with what is fixed and searched, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sweep.made import SEARCH, sweep_of
from vicc_ray.config import Config
from vicc_ray.config.loader import load_config
from vicc_ray.runs.schedule import build_phases


def differences(one: Config, other: Config) -> dict[str, Any]:
    """Settings of ``one`` that are otherwise in ``other``."""
    found = {}
    theirs = other.model_dump()
    for section, values in one.model_dump().items():
        if isinstance(values, dict):
            found |= {f"{section}.{k}": v for k, v in values.items() if theirs[section][k] != v}
        elif values != theirs[section]:
            found[section] = values
    return found


def test_a_trial_is_the_recipe_with_its_values_on_held_out_videos() -> None:
    sweep = sweep_of(fixed={"optimiser.learning_rate": 0.01}, concurrency=2)
    found = differences(sweep.trial({"stage2.epsilon": 0.3}, "t"), load_config("demo"))
    share = found.pop("ray.share")
    assert 0.45 < share < 0.5
    assert found == {
        **{"name": "t", "optimiser.learning_rate": 0.01, "stage2.epsilon": 0.3},
        **{"train.validation_share": 0.2, "train.trackers": ()},
    }


def test_last_runs_train_on_all_videos_with_seeds_that_no_trial_had() -> None:
    sweep = sweep_of()
    found = differences(sweep.last({}, "best", 2), sweep.base)
    del found["ray.share"]
    assert found == {"name": "best", "seed": 1002, "train.trackers": (), "train.evaluate_epochs": 0}


@pytest.mark.parametrize("period", [1, 3, 4, 7, 12, 50])
def test_trials_are_equally_long_whatever_their_alternation(period: int) -> None:
    search = {"schedule.alternation_period": {"choice": [period, 60]}}
    fixed = {"schedule.final_flow_phase": True, "schedule.stage2_cosine_epochs": 0}
    sweep = sweep_of(search=search, fixed=fixed, budget={"epochs": 12})
    planned = build_phases(sweep.trial({"schedule.alternation_period": period}).schedule)
    assert sum(phase.epochs for phase in planned if phase.stage == 2) == 12


def test_the_default_is_what_holds_in_stage_2() -> None:
    assert sweep_of().default == {"stage2.epsilon": 0.05, "stage2.prototypes": 12, "stage2.queue": 0}
    assert sweep_of(fixed={"method.epsilon": 0.2}).default == {
        **{"stage2.epsilon": 0.2, "stage2.prototypes": 12, "stage2.queue": 0}
    }
    assert sweep_of(search={**SEARCH, "stage2.prototypes": {"choice": [8, 20]}}).default is None


def test_gpus_are_workers_or_a_share_of_one() -> None:
    assert sweep_of(resources={"gpus": 0.25}).trial({}).train.worker_gpus == 0.25
    train = sweep_of(resources={"gpus": 4, "cpus": 16}).trial({}).train
    assert (train.workers.max, train.worker_gpus, train.worker_cpus, train.use_gpu) == (4, 1.0, 2.0, "yes")
