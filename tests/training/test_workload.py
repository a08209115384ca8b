"""What a schedule comes to, from a list of videos alone."""

from __future__ import annotations

import pytest

from tests.training.fixtures import small_config
from vicc_ray.errors import UserError
from vicc_ray.training.workload import planned_workload

SCHEDULE = {
    **{"rgb_epochs": 4, "flow_epochs": 2, "stage1_cosine_epochs": 4, "cycles": 1, "epochs_per_phase": 3},
    **{"stage2_cosine_epochs": 3, "final_flow_phase": True},
}


def listed(train: int, test: int) -> list[tuple[str, str, str]]:
    return [("train" if n < train else "test", f"class {n % 2}", f"source {n}") for n in range(train + test)]


def test_steps_are_those_of_the_phases() -> None:
    config = small_config(schedule=SCHEDULE)
    planned = planned_workload(config, listed(train=24, test=10))
    assert planned.sampler.videos == 24 and planned.steps == 3 * (4 + 2 + 3 + 3)
    assert list(planned.ends.values()) == [12, 18, 27, 36]
    assert planned.cost(0, 36) == pytest.approx(18 + 18 * 4 / 3)
    assert planned.cost(12, 20) == pytest.approx(6 + 2 * 4 / 3)


def test_videos_for_testing_and_for_validation_are_not_trained_on() -> None:
    config = small_config(schedule=SCHEDULE, train={"validation_fraction": 0.25})
    assert planned_workload(config, listed(train=24, test=10)).sampler.videos == 18


def test_a_batch_above_the_number_of_videos_is_told_with_both() -> None:
    config = small_config(method={"queue_size": 0}, train={"global_batch_size": 32})
    with pytest.raises(UserError) as told:
        planned_workload(config, listed(train=24, test=10))
    assert "train.global_batch_size" in str(told.value) and "32" in str(told.value) and "24" in str(told.value)
