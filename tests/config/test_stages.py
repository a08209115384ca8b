"""Settings of a stage."""

from __future__ import annotations

from vicc_ray.config.loader import load_config


def test_rgb_may_start_its_queue_at_another_epoch_in_stage_1_only() -> None:
    settings = ["method.queue_start_epoch=200", "method.rgb_queue_start_epoch=150"]
    for stage2, starts in (("25", (25, 25)), ("null", (200, 200))):
        config = load_config("demo", [*settings, f"stage2.queue_start_epoch={stage2}"])
        first, second = (config.of_stage(stage).method for stage in (1, 2))
        assert (first.first_queue_epoch("rgb"), first.first_queue_epoch("flow")) == (150, 200)
        assert (second.first_queue_epoch("rgb"), second.first_queue_epoch("flow")) == starts
