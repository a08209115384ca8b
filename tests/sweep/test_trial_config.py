"""What trials compute: the recipe with what is fixed and searched, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sweep.example_sweep import SEARCH, sweep_of
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


def test_a_trial_is_the_recipe_with_its_values_on_validation_videos() -> None:
    sweep = sweep_of(overrides={"optimizer.learning_rate": 0.01}, max_concurrent_trials=2)
    found = differences(sweep.trial({"stage2.sinkhorn_epsilon": 0.3}, "t"), load_config("demo"))
    share = found.pop("ray.share")
    assert 0.45 < share < 0.5
    assert found == {
        **{"name": "t", "optimizer.learning_rate": 0.01, "stage2.sinkhorn_epsilon": 0.3},
        **{"train.validation_fraction": 0.2, "train.trackers": ()},
    }


def test_final_runs_train_on_all_videos_with_new_seeds() -> None:
    sweep = sweep_of()
    found = differences(sweep.final_run({}, "best", 2), sweep.base)
    del found["ray.share"]
    assert found == {"name": "best", "seed": 1002, "train.trackers": (), "train.validate_every_epochs": 0}


@pytest.mark.parametrize("period", [1, 3, 4, 7, 12, 50])
def test_trials_have_equal_lengths_whatever_their_alternation_period(period: int) -> None:
    search = {"schedule.epochs_per_phase": {"choices": [period, 60]}}
    fixed = {"schedule.final_flow_phase": True, "schedule.stage2_cosine_epochs": 0}
    sweep = sweep_of(search_space=search, overrides=fixed, budget={"epochs": 12})
    planned = build_phases(sweep.trial({"schedule.epochs_per_phase": period}).schedule)
    assert sum(phase.epochs for phase in planned if phase.stage == 2) == 12


def test_the_default_is_the_stage_2_setting() -> None:
    assert sweep_of().default == {"stage2.sinkhorn_epsilon": 0.05, "stage2.num_prototypes": 12, "stage2.queue_size": 0}
    assert sweep_of(overrides={"method.sinkhorn_epsilon": 0.2}).default == {
        **{"stage2.sinkhorn_epsilon": 0.2, "stage2.num_prototypes": 12, "stage2.queue_size": 0}
    }
    assert sweep_of(search_space={**SEARCH, "stage2.num_prototypes": {"choices": [8, 20]}}).default is None


def test_gpus_per_trial_are_workers_or_a_fraction_of_one() -> None:
    assert sweep_of(resources_per_trial={"gpus": 0.25}).trial({}).train.gpus_per_worker == 0.25
    train = sweep_of(resources_per_trial={"gpus": 4, "cpus": 16}).trial({}).train
    assert (train.num_workers.max, train.gpus_per_worker, train.cpus_per_worker, train.use_gpu) == (4, 1.0, 2.0, "yes")
