"""Collapse is noticed, with what to change, and a healthy run is left alone: on figures, and on real short runs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.training.observed import run_epochs, watched_config
from vicc_ray.config import Config
from vicc_ray.training.monitoring.diagnostics import diagnose_finished_phase, diagnose_initial_networks, diagnose_phase

LN_K = math.log(20)
HEALTHY = {
    **{"phase": "rgb-stage1", "stream": "rgb", "steps": 100, "ln_k": LN_K, "loss": 0.8 * LN_K},
    **{"entropy": 0.99 * LN_K, "assignment_entropy": 0.7 * LN_K, "gradient_norm": 2.0, "effective_rank": 15.0},
    **{"prototypes_in_use": 1.0, "prototypes_effective": 0.95},
}
CONFIG = Config.model_validate(
    {
        "method": {
            "num_prototypes": 20,
            "sinkhorn_epsilon": 0.3,
            "queue_size": 64,
            "queue_start_epoch": 4,
            "freeze_prototypes_epochs": 1,
        },
        "optimizer": {"learning_rate": 0.7, "warmup_epochs": 2},
        "train": {"global_batch_size": 32},
    }
)


def epoch(**changes: Any) -> dict[str, Any]:
    return {**HEALTHY, **changes}


def kinds(*phase: dict[str, Any]) -> list[str]:
    return [problem.kind for problem in diagnose_phase(phase, CONFIG)]


def test_a_healthy_phase_is_left_alone() -> None:
    first = epoch(loss=1.3 * LN_K, gradient_norm=15.0)
    assert kinds(first) == []
    assert kinds(first, epoch(), epoch(gradient_norm=3.0)) == []
    assert diagnose_finished_phase(epoch(), CONFIG) == []


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"loss": None}, "diverged", ["the loss is", "optimizer.learning_rate (now 0.7)"]),
        ({"gradient_norm": None}, "diverged", ["the gradient is"]),
        (
            {"assignment_entropy": 0.999 * LN_K},
            "uniform_assignments",
            ["2.993", "ln K = 2.996", "method.sinkhorn_epsilon (now 0.3)", "method.freeze_prototypes_epochs (now 1)"],
        ),
        (
            {"prototypes_in_use": 0.4, "prototypes_effective": 0.2},
            "prototype_collapse",
            [
                "8 of 20",
                "3200 samples",
                " 4.0 ",
                "method.num_prototypes (now 20)",
                "method.queue_start_epoch (now 4)",
            ],
        ),
        (
            {"entropy": 0.3 * LN_K},
            "prototype_collapse",
            ["0.90", "3.00", "method.sinkhorn_epsilon (now 0.3)"],
        ),
        ({"effective_rank": 1.2}, "dimensional_collapse", ["effective rank is 1.2 of 128", "warmup_epochs (now 2)"]),
        ({"gradient_norm": 0.0}, "no_gradient", ["0.0e+00"]),
    ],
)
def test_each_collapse_is_told_with_figures_and_settings(changes: dict[str, Any], kind: str, told: list[str]) -> None:
    (problem,) = diagnose_phase([epoch(**changes)], CONFIG)
    assert problem.kind == kind
    assert [part for part in told if part not in problem.text] == []
    assert [problem.kind for problem in diagnose_finished_phase(epoch(**changes), CONFIG)] == [kind]


def test_the_queue_is_mentioned_only_where_there_is_one() -> None:
    without = CONFIG.model_copy(update={"method": CONFIG.method.model_copy(update={"queue_size": 0})})
    changes = epoch(assignment_entropy=LN_K)
    assert "queue_start" in diagnose_phase([changes], CONFIG)[0].text
    assert "queue" not in diagnose_phase([changes], without)[0].text


def test_being_at_ln_k_counts_after_some_steps() -> None:
    uniform = epoch(assignment_entropy=LN_K, steps=10)
    assert kinds(uniform) == kinds(uniform, uniform) == []
    assert kinds(uniform, uniform, uniform) == ["uniform_assignments"]
    assert kinds(uniform, epoch(), uniform) == []


def test_a_loss_at_ln_k_counts_after_warm_up_and_three_epochs() -> None:
    at_ln_k = epoch(loss=LN_K)
    assert kinds(*5 * [at_ln_k]) == []
    assert kinds(*6 * [at_ln_k]) == ["plateau_at_chance"]
    assert kinds(*5 * [at_ln_k], epoch(loss=0.97 * LN_K)) == []


def test_a_loss_that_falls_towards_ln_k_is_not_stuck() -> None:
    """So a cross-stream phase begins: prototypes of one stream must first be brought to the embeddings of the other."""
    falling = [epoch(loss=share * LN_K, assignment_entropy=0.98 * LN_K) for share in (1.3, 1.24, 1.14, 1.07, 1.03, 1.0)]
    assert kinds(*falling) == []


def test_a_rising_loss_and_gradient_are_told() -> None:
    assert kinds(epoch(loss=1.2 * LN_K), epoch(loss=2.5 * LN_K)) == ["loss_increase"]
    assert kinds(epoch(loss=0.5 * LN_K), epoch(loss=0.9 * LN_K)) == []
    assert kinds(epoch(gradient_norm=2.0), epoch(gradient_norm=30.0)) == ["gradient_explosion"]


def test_many_prototypes_for_few_samples_are_no_collapse() -> None:
    """Chance itself leaves most of them unused then."""
    config = CONFIG.model_copy(update={"method": CONFIG.method.model_copy(update={"num_prototypes": 300})})
    few = epoch(steps=10, prototypes_in_use=0.65, prototypes_effective=0.55, effective_rank=30.0)
    assert diagnose_phase([few], config) == []
    assert [p.kind for p in diagnose_phase([{**few, "steps": 1000}], config)] == ["prototype_collapse"]


def test_figures_that_are_not_there_are_not_judged() -> None:
    assert diagnose_phase([{"phase": "rgb-stage1", "stream": "rgb", "loss": 3.0}], CONFIG) == []
    assert diagnose_finished_phase({"loss": 7.0, "entropy": None, "effective_rank": 50.0}, CONFIG) == []


def test_a_phase_that_learnt_nothing_is_told_at_its_end() -> None:
    (problem,) = diagnose_finished_phase(epoch(loss=0.98 * LN_K), CONFIG)
    assert problem.kind == "not_learning" and "2.94" in problem.text


def test_an_objective_without_prototypes_is_judged_by_its_own_chance() -> None:
    figures = {"steps": 100, "chance_loss": 7.0, "gradient_norm": 1.0, "effective_rank": 50.0}
    learns, stays = {**figures, "loss": 4.0}, {**figures, "loss": 6.99}
    moco = CONFIG.model_copy(update={"method": CONFIG.method.model_copy(update={"objective": "moco"})})
    assert diagnose_phase(6 * [learns], moco) == diagnose_finished_phase(learns, moco) == []
    assert [problem.kind for problem in diagnose_phase(6 * [stays], moco)] == ["plateau_at_chance"]
    (problem,) = diagnose_finished_phase(stays, moco)
    assert problem.kind == "not_learning" and "7.000" in problem.text and "prototypes" not in problem.text
    (problem,) = diagnose_phase([{**learns, "effective_rank": 9.0}], moco)
    assert problem.kind == "dimensional_collapse" and "prototypes" not in problem.text


def test_stage_two_says_that_it_starts_from_a_collapsed_network() -> None:
    early, good = epoch(effective_rank=1.0), epoch()
    bad_flow = epoch(stream="flow", phase="flow-stage1", effective_rank=1.1)
    assert diagnose_initial_networks([early, good], ("rgb", "flow"), CONFIG) == []
    (problem,) = diagnose_initial_networks([early, good, bad_flow], ("rgb", "flow"), CONFIG)
    assert problem.kind == "starts_from_flow_dimensional_collapse"
    assert "flow-stage1" in problem.text and "effective rank is 1.1" in problem.text
    assert diagnose_initial_networks([good, bad_flow], ("rgb",), CONFIG) == []


def test_few_steps_are_told_first_with_what_held_out_videos_say() -> None:
    short = epoch(steps=2, stage=1, loss=LN_K)
    check = {"phase": "rgb-stage1", "recall_at_1": 0.5625, "low": 0.31, "high": 0.81, "chance": 0.125, "videos": 16}
    (problem,) = diagnose_finished_phase(short, CONFIG, steps=12, check=check)
    told = [
        "12 steps in all (about 2 per epoch)",
        "schedule.rgb_epochs (now",
        "train.global_batch_size (now 32)",
        "2.996",
    ]
    held_out = ["56.2 %", "31.0 to 81.0", "16 videos", "chance, 12.5 %"]
    places = [problem.text.find(part) for part in [*told, *held_out]]
    assert problem.kind == "not_learning" and places[0] == 0 and -1 not in places and places == sorted(places)
    for chance, low, clear in ((0.125, 0.31, True), (0.5, 0.31, False)):
        (problem,) = diagnose_finished_phase(short, CONFIG, steps=12, check={**check, "chance": chance, "low": low})
        assert ("not clearly" not in problem.text) is clear
    (problem,) = diagnose_finished_phase(short, CONFIG, steps=700)
    assert "train.global_batch_size" not in problem.text and "%" not in problem.text


@pytest.mark.parametrize(
    ("stage", "stream", "key"),
    [(1, "rgb", "schedule.rgb_epochs"), (1, "flow", "schedule.flow_epochs"), (2, "rgb", "schedule.epochs_per_phase")],
)
def test_the_setting_of_the_number_of_steps_is_that_of_the_phase(stage: int, stream: str, key: str) -> None:
    (problem,) = diagnose_finished_phase(epoch(steps=2, stage=stage, stream=stream, loss=LN_K), CONFIG, steps=12)
    assert f"{key} (now {getattr(CONFIG.schedule, key.split('.')[1])})" in problem.text


def test_stage_two_counts_the_steps_of_the_phase_that_it_starts_from() -> None:
    short = [epoch(steps=2, stage=1, loss=LN_K), epoch(steps=3, stage=1, loss=LN_K)]
    check = {"phase": "rgb-stage1", "recall_at_1": 0.25, "low": 0.1, "high": 0.4, "videos": 16}
    (problem,) = diagnose_initial_networks([epoch(phase="other"), *short], ("rgb",), CONFIG, [check])
    assert "5 steps in all" in problem.text and "25.0 %" in problem.text
    (problem,) = diagnose_initial_networks([epoch(steps=90, loss=LN_K), *short, *short], ("rgb",), CONFIG)
    assert problem.text.count("steps in all") == 0


@pytest.mark.slow
def test_no_epoch_of_a_healthy_run_is_warned_of() -> None:
    config = watched_config()
    phase = run_epochs(config, 3)
    assert phase[-1]["loss"] < 0.6 * phase[-1]["ln_k"]
    for n in range(1, len(phase) + 1):
        assert diagnose_phase(phase[:n], config) == []
    assert diagnose_finished_phase(phase[-1], config) == []


@pytest.mark.slow
def test_an_epsilon_that_makes_assignments_uniform_is_noticed_within_an_epoch() -> None:
    config = watched_config(method={"num_prototypes": 6, "queue_size": 0, "sinkhorn_epsilon": 1.0})
    (problem,) = diagnose_phase(run_epochs(config, 1), config)
    assert problem.kind == "uniform_assignments" and "method.sinkhorn_epsilon (now 1)" in problem.text


@pytest.mark.slow
def test_clips_that_are_all_alike_are_noticed_within_an_epoch() -> None:
    config = watched_config()
    assert {p.kind for p in diagnose_phase(run_epochs(config, 1, alike=True), config)} == {
        "uniform_assignments",
        "dimensional_collapse",
    }


@pytest.mark.slow
def test_steps_far_too_long_are_noticed() -> None:
    config = watched_config(optimizer={"name": "adamw", "learning_rate": 1e3, "min_lr": 1e3})
    found = diagnose_phase(run_epochs(config, 2), config)
    assert {"dimensional_collapse", "loss_increase"} <= {problem.kind for problem in found}
    assert all("optimizer.learning_rate (now 1000)" in problem.text for problem in found)
