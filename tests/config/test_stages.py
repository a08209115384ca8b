"""Settings that depend on each other: of a stage, and of batch norm on each worker."""

from __future__ import annotations

import pytest

from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.runs.run_dir import FREE_TO_CHANGE, changed_settings


def test_rgb_may_start_its_queue_at_another_epoch_in_stage_1_only() -> None:
    settings = ["method.queue_start_epoch=200", "method.rgb_queue_start_epoch=150"]
    for stage2, starts in (("25", (25, 25)), ("null", (200, 200))):
        config = load_config("demo", [*settings, f"stage2.queue_start_epoch={stage2}"])
        first, second = (config.of_stage(stage).method for stage in (1, 2))
        assert (first.first_queue_epoch("rgb"), first.first_queue_epoch("flow")) == (150, 200)
        assert (second.first_queue_epoch("rgb"), second.first_queue_epoch("flow")) == starts


def test_elastic_workers_are_refused_with_batch_norm_of_each_worker() -> None:
    workers = "train.num_workers={min: 1, max: 2}"
    assert load_config("demo", [workers]).train.num_workers.max == 2
    with pytest.raises(UserError, match=r"num_workers: 1 to 2 given.*batch_norm local"):
        load_config("demo", [workers, "train.batch_norm=local"])


@pytest.mark.parametrize(("batch_norm", "fixed"), [("sync", False), ("local", True)])
def test_a_resumed_run_keeps_its_workers_where_the_loss_depends_on_them(batch_norm: str, fixed: bool) -> None:
    one, two = (
        load_config("demo", [f"train.batch_norm={batch_norm}", f"train.num_workers={n}"]).model_dump() for n in (1, 2)
    )
    changed = changed_settings(one, two, FREE_TO_CHANGE)
    assert [change.startswith("train.num_workers") for change in changed] == [True] * fixed
