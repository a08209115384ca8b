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
RIGHT = {"recipe": "demo", "search": {"stage2.epsilon": {"low": 0.02, "high": 0.2, "log": True}}}


def problem(tmp_path: Path, **changes: object) -> str:
    """The message for a sweep of these settings, beside right ones."""
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({**RIGHT, **changes}))
    with pytest.raises(UserError) as caught:
        Sweep(load_sweep(file))
    return str(caught.value)


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_sweeps_that_come_with_the_package_can_be_run(file: Path) -> None:
    sweep = Sweep(load_sweep(file))
    assert sweep.settings.name == file.stem
    assert {"stage2.prototypes", "stage2.temperature", "stage2.epsilon"} <= set(sweep.settings.search)
    assert sweep.default is not None
    assert sweep.trial({}).train.validation_share > 0


EPSILON, K = "stage2.epsilon", "stage2.prototypes"
WRONG = {
    "serach": ({"serach": {}}, "serach: no such setting; did you mean search? (allowed: budget, prune,"),
    "budget.trails": ({"budget": {"trails": 3}}, "budget.trails: no such setting; did you mean budget.trials?"),
    "trials": ({"budget": {"trials": 0}}, "budget.trials: 0 given; allowed: a whole number of at least 1"),
    "sampler": ({"sampler": "tpee"}, "sampler: tpee given; allowed: tpe, random, grid; did you mean tpe?"),
    "nothing": ({"search": {}}, "search: nothing given; name at least one setting"),
    "unknown": ({"search": {"stage2.epsilom": {"choice": [1]}}}, "did you mean stage2.epsilon?"),
    "low": ({"search": {EPSILON: {"low": 0.3, "high": 0.2}}}, "low: 0.3 given, which is not below high (0.2)"),
    "half": ({"search": {EPSILON: {"low": 0.3}}}, "search.stage2.epsilon: give {choice: [...]}, or {low: 1,"),
    "both": (
        {"search": {EPSILON: {"low": 1, "high": 2, "choice": [1]}}},
        "choice given together with a range",
    ),
    "log": (
        {"search": {"method.queue": {"low": 0, "high": 9, "log": True}}},
        "low: 0 given; with log: true it",
    ),
    "key": ({"search": {EPSILON: {"lo": 0.3, "high": 1}}}, "search.stage2.epsilon: lo: "),
    "whole": ({"search": {K: {"low": 2.5, "high": 9}}}, "low: 2.5 given; it must be a whole number"),
    "range": (
        {"search": {"prepare.flow": {"low": 2, "high": 9}}},
        "prepare.flow: a range given, but it is no number",
    ),
    "limit": (
        {"search": {EPSILON: {"low": -1, "high": 9}}},
        "search.stage2.epsilon: -1 cannot be: demo with --set: stage2.epsilon: -1 given; allowed: a number "
        "above 0 or null",
    ),
    "choice": (
        {"search": {"prepare.flow": {"choice": ["dis", "dsi"]}}},
        "prepare.flow: dsi cannot be: demo with",
    ),
    "fixed": (
        {"fixed": {"schedule.cycels": 2}},
        "fixed.schedule.cycels: no such setting; did you mean",
    ),
    "held out": ({"fixed": {"train.validation_share": 0.5}}, "fixed.train.validation_share: a sweep sets this itself"),
    "tracked": ({"fixed": {"train.trackers": ["mlflow"]}}, "fixed.train.trackers: a sweep sets this itself"),
    "workers": (
        {"fixed": {"train.workers": 2}, "resources": {"gpus": 1}},
        "fixed.train.workers: a sweep sets this itself; leave resources.gpus out",
    ),
    "epochs": (
        {"fixed": {"schedule.cycles": 2}, "budget": {"epochs": 12}},
        "fixed.schedule.cycles: a sweep sets this itself; leave budget.epochs out",
    ),
    "epochs searched": (
        {"search": {"schedule.cycles": {"choice": [1, 2]}}, "budget": {"epochs": 4}},
        "search.schedule.cycles: a sweep sets this itself; leave budget.epochs out",
    ),
    "length searched": (
        {"search": {"schedule.stage2_epochs": {"choice": [1, 2]}}, "budget": {"epochs": 4}},
        "search.schedule.stage2_epochs: a sweep sets this itself; leave budget.epochs out",
    ),
    "held out searched": (
        {"search": {"train.validation_share": {"choice": [0.2, 0.5]}}},
        "search.train.validation_share: a sweep sets this itself; give validation_share",
    ),
    "workers searched": (
        {"search": {"train.worker_gpus": {"choice": [0.5, 1.0]}}, "resources": {"gpus": 1}},
        "search.train.worker_gpus: a sweep sets this itself; leave resources.gpus out",
    ),
    "twice": ({"fixed": {"stage2.epsilon": 0.1}}, "search.stage2.epsilon: it is fixed too"),
    "unchecked": (
        {"fixed": {"train.evaluate_epochs": 0}},
        "train.evaluate_epochs: 0 given; trials are scored",
    ),
    "minutes": ({"objectives": ["minutes"]}, "objectives: give [recall_at_1] or [recall_at_1, minutes]"),
    "gpus": ({"resources": {"gpus": 1.5}}, "resources.gpus: 1.5 given; above 1 it must be a whole number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named(tmp_path: Path, case: str) -> None:
    changes, message = WRONG[case]
    assert message in problem(tmp_path, **changes)


def test_conditions_look_at_what_is_searched(tmp_path: Path) -> None:
    queue = {"choice": [0, 64]}
    started = {"low": 0, "high": 5, "when": {"method.queue": {"above": 0}}}
    message = problem(tmp_path, search={"method.queue_start": started})
    assert "when: method.queue is not searched; did you mean method.queue_start?" in message
    wrong = {**started, "when": {"method.queue": {"over": 0}}}
    message = problem(tmp_path, search={"method.queue": queue, "method.queue_start": wrong})
    assert "give a value, a list of values or {above: NUMBER}" in message
    both = {"method.queue": {**queue, "when": {"method.queue_start": 1}}, "method.queue_start": started}
    assert re.search("conditions of .* wait for each other", problem(tmp_path, search=both))


def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read as a sweep"):
        load_sweep(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(UserError, match=r"list given; a sweep is a mapping of name, recipe"):
        load_sweep(tmp_path / "list.yaml")
