"""A sweep's file: every mistake is named with what is allowed, as in a recipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vicc_ray.errors import UserError
from vicc_ray.sweep.config import load_sweep
from vicc_ray.sweep.trial_config import Sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"
RIGHT = {"recipe": "demo", "search_space": {"stage2.sinkhorn_epsilon": {"low": 0.02, "high": 0.2, "log": True}}}


def problem(tmp_path: Path, **changes: object) -> str:
    """The message for a sweep of these settings, beside right ones."""
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({**RIGHT, **changes}))
    with pytest.raises(UserError) as caught:
        Sweep(load_sweep(file))
    return str(caught.value)


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda file: file.stem)
def test_packaged_sweeps_are_valid(file: Path) -> None:
    sweep = Sweep(load_sweep(file))
    assert sweep.settings.name == file.stem
    assert {"stage2.num_prototypes", "stage2.temperature", "stage2.sinkhorn_epsilon"} <= set(
        sweep.settings.search_space
    )
    assert sweep.default is not None
    assert sweep.trial({}).train.validation_fraction > 0


EPSILON, K = "stage2.sinkhorn_epsilon", "stage2.num_prototypes"
WRONG = {
    "searchspace": (
        {"searchspace": {}},
        "searchspace: no such setting; did you mean search_space? (allowed: budget, prune,",
    ),
    "budget.trails": ({"budget": {"trails": 3}}, "budget.trails: no such setting; did you mean budget.trials?"),
    "trials": ({"budget": {"trials": 0}}, "budget.trials: 0 given; allowed: a whole number of at least 1"),
    "sampler": ({"sampler": "tpee"}, "sampler: tpee given; allowed: tpe, random, grid; did you mean tpe?"),
    "nothing": ({"search_space": {}}, "search_space: nothing given"),
    "unknown": (
        {"search_space": {"stage2.sinkhorn_epsilom": {"choices": [1]}}},
        "did you mean stage2.sinkhorn_epsilon?",
    ),
    "low": ({"search_space": {EPSILON: {"low": 0.3, "high": 0.2}}}, "low: 0.3 given, which is not below high (0.2)"),
    "half": (
        {"search_space": {EPSILON: {"low": 0.3}}},
        "search_space.stage2.sinkhorn_epsilon: give {choices: [...]}, or {low: 1,",
    ),
    "both": (
        {"search_space": {EPSILON: {"low": 1, "high": 2, "choices": [1]}}},
        "choices given together with a range",
    ),
    "log": (
        {"search_space": {"method.queue_size": {"low": 0, "high": 9, "log": True}}},
        "low: 0 given; with log: true it",
    ),
    "key": ({"search_space": {EPSILON: {"lo": 0.3, "high": 1}}}, "search_space.stage2.sinkhorn_epsilon: lo: "),
    "whole": ({"search_space": {K: {"low": 2.5, "high": 9}}}, "low: 2.5 given; it must be a whole number"),
    "range": (
        {"search_space": {"prepare.flow_method": {"low": 2, "high": 9}}},
        "prepare.flow_method: a range given, but it is no number",
    ),
    "limit": (
        {"search_space": {EPSILON: {"low": -1, "high": 9}}},
        "search_space.stage2.sinkhorn_epsilon: -1 cannot be: demo with --set: stage2.sinkhorn_epsilon: -1 given; "
        "allowed: "
        "a number "
        "above 0 or null",
    ),
    "choices": (
        {"search_space": {"prepare.flow_method": {"choices": ["dis", "dsi"]}}},
        "prepare.flow_method: dsi cannot be: demo with",
    ),
    "overrides": (
        {"overrides": {"schedule.cycels": 2}},
        "overrides.schedule.cycels: no such setting; did you mean",
    ),
    "held out": (
        {"overrides": {"train.validation_fraction": 0.5}},
        "overrides.train.validation_fraction: a sweep sets this itself",
    ),
    "tracked": ({"overrides": {"train.trackers": ["mlflow"]}}, "overrides.train.trackers: a sweep sets this itself"),
    "workers": (
        {"overrides": {"train.num_workers": 2}, "resources_per_trial": {"gpus": 1}},
        "overrides.train.num_workers: a sweep sets this itself; leave resources_per_trial.gpus out",
    ),
    "epochs": (
        {"overrides": {"schedule.cycles": 2}, "budget": {"epochs": 12}},
        "overrides.schedule.cycles: a sweep sets this itself; leave budget.epochs out",
    ),
    "epochs searched": (
        {"search_space": {"schedule.cycles": {"choices": [1, 2]}}, "budget": {"epochs": 4}},
        "search_space.schedule.cycles: a sweep sets this itself; leave budget.epochs out",
    ),
    "length searched": (
        {"search_space": {"schedule.stage2_max_epochs": {"choices": [1, 2]}}, "budget": {"epochs": 4}},
        "search_space.schedule.stage2_max_epochs: a sweep sets this itself; leave budget.epochs out",
    ),
    "held out searched": (
        {"search_space": {"train.validation_fraction": {"choices": [0.2, 0.5]}}},
        "search_space.train.validation_fraction: a sweep sets this itself; give validation_fraction",
    ),
    "workers searched": (
        {"search_space": {"train.gpus_per_worker": {"choices": [0.5, 1.0]}}, "resources_per_trial": {"gpus": 1}},
        "search_space.train.gpus_per_worker: a sweep sets this itself; leave resources_per_trial.gpus out",
    ),
    "twice": ({"overrides": {"stage2.sinkhorn_epsilon": 0.1}}, "search_space.stage2.sinkhorn_epsilon: it is fixed too"),
    "unchecked": (
        {"overrides": {"train.validate_every_epochs": 0}},
        "train.validate_every_epochs: 0 given; trials are scored",
    ),
    "minutes": ({"objectives": ["minutes"]}, "objectives: give [recall_at_1] or [recall_at_1, minutes]"),
    "gpus": (
        {"resources_per_trial": {"gpus": 1.5}},
        "resources_per_trial.gpus: 1.5 given; above 1 it must be a whole number",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_setting_is_named(tmp_path: Path, case: str) -> None:
    changes, message = WRONG[case]
    assert message in problem(tmp_path, **changes)


def test_conditions_refer_to_searched_settings(tmp_path: Path) -> None:
    queue = {"choices": [0, 64]}
    started = {"low": 0, "high": 5, "condition": {"method.queue_size": {"above": 0}}}
    message = problem(tmp_path, search_space={"method.queue_start_epoch": started})
    assert "condition: method.queue_size is not searched; did you mean method.queue_start_epoch?" in message
    wrong = {**started, "condition": {"method.queue_size": {"over": 0}}}
    message = problem(tmp_path, search_space={"method.queue_size": queue, "method.queue_start_epoch": wrong})
    assert "give a value, a list of values or {above: NUMBER}" in message
    both = {
        "method.queue_size": {**queue, "condition": {"method.queue_start_epoch": 1}},
        "method.queue_start_epoch": started,
    }
    assert re.search("conditions of .*method", problem(tmp_path, search_space=both))


def test_a_file_that_is_not_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read as a sweep"):
        load_sweep(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(UserError, match=r"list given; a sweep is a mapping of name, recipe"):
        load_sweep(tmp_path / "list.yaml")
