"""What a schedule comes to, from a list of videos alone."""

from __future__ import annotations

import pytest

from tests.training.fixtures import small_config
from vicc_ray.errors import UserError
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.workload import largest_batch_bytes, planned_workload

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


def test_each_stage_has_the_steps_of_its_own_batch() -> None:
    """24 videos: 3 steps an epoch in stage 1, 6 in stage 2, each of half the cost."""
    config = small_config(schedule=SCHEDULE, stage2={"global_batch_size": 4})
    planned = planned_workload(config, listed(train=24, test=10))
    assert list(planned.ends.values()) == [12, 18, 36, 54]
    assert planned.cost(0, 54) == pytest.approx(18 + 36 * 4 / 3 / 2)
    for number in ("3 steps per epoch of stage 1 (batch 8)", "6 steps per epoch of stage 2 (batch 4)", "54 steps"):
        assert number in str(planned)


def test_more_workers_than_the_samples_of_a_stage_are_refused() -> None:
    config = small_config(stage2={"global_batch_size": 2, "queue_size": 0}, train={"num_workers": {"min": 1, "max": 3}})
    with pytest.raises(
        UserError, match=r"train\.num_workers: 3 workers given for a global batch of 2.*raise stage2\.global_batch_size"
    ):
        planned_workload(config, listed(train=24, test=10))


def test_the_largest_batch_may_be_of_either_stage() -> None:
    """A sample of both streams takes 5/3 of the bytes of one of RGB."""
    for stage2, samples in ((8, 8 * 5), (6, 6 * 5), (4, 8 * 3)):
        config = small_config(stage2={"global_batch_size": stage2, "queue_size": 0})
        clip = 2 * config.clip.frames * config.clip.size**2
        assert largest_batch_bytes(config, build_phases(config.schedule)) == samples * clip


def test_videos_for_testing_and_for_validation_are_not_trained_on() -> None:
    config = small_config(schedule=SCHEDULE, train={"validation_fraction": 0.25})
    assert planned_workload(config, listed(train=24, test=10)).sampler.videos == 18


def test_a_batch_above_the_number_of_videos_is_told_with_both() -> None:
    config = small_config(method={"queue_size": 0}, train={"global_batch_size": 32})
    with pytest.raises(UserError) as told:
        planned_workload(config, listed(train=24, test=10))
    assert "train.global_batch_size" in str(told.value) and "32" in str(told.value) and "24" in str(told.value)
