"""Folders of sweeps that somebody else made: a journal leads a sweep nowhere but where it searches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.example_sweep import sweep_of
from tests.sweep.test_optuna_study import opened
from vicc_ray.errors import UserError
from vicc_ray.sweep.space import MAX_COMBINATIONS
from vicc_ray.sweep.sweep_dir import SweepDir

EPSILON = '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'
TRIAL = {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": "2026-01-01T00:00:00.000000"}


def attribute(value: Any, name: str = "values") -> dict[str, Any]:
    return {"op_code": 8, "worker_id": "w", "trial_id": 0, "user_attr": {name: value}}


def ended(values: Any) -> dict[str, Any]:
    when = "2026-01-01T00:00:00.000000"
    return {"op_code": 6, "worker_id": "w", "trial_id": 0, "state": 1, "values": values, "datetime_complete": when}


def scored(epoch: Any, score: Any) -> dict[str, Any]:
    return {"op_code": 7, "worker_id": "w", "trial_id": 0, "step": epoch, "intermediate_value": score}


def tried(name: str, distribution: str, value: Any) -> dict[str, Any]:
    found = {"param_name": name, "param_value_internal": value, "distribution": distribution}
    return {"op_code": 5, "worker_id": "w", "trial_id": 0, **found}


JOURNALS: dict[str, list[Any]] = {
    "other settings are tried": [TRIAL, attribute({"train.trackers": ["wandb"]})],
    "other values are tried": [TRIAL, attribute({"stage2.sinkhorn_epsilon": 10**9})],
    "a path is tried": [TRIAL, attribute({"stage2.sinkhorn_epsilon": "../../../etc"})],
    "the values are a list": [TRIAL, attribute(["../.."])],
    "other settings are known": [TRIAL, tried("name", EPSILON, 0.1)],
    "a score is text": [TRIAL, scored(1, "a")],
    "an epoch is text": [TRIAL, scored("../a", 0.5)],
    "a result is text": [TRIAL, ended(["a"])],
    "two results are given": [TRIAL, ended([0.1, 0.2])],
    "an operation that is none": [{"op_code": 99}],
    "an operation that is text": [{"op_code": "a"}],
    "no operation": [{}],
    "a list": [[]],
    "a number": [3],
    "a distribution that is none": [TRIAL, tried("stage2.sinkhorn_epsilon", "{}", 0.1)],
    "a distribution that is text": [TRIAL, tried("stage2.sinkhorn_epsilon", "os.system", 0.1)],
    "a state that is none": [{**TRIAL, "state": 77}],
    "a time that is none": [{**TRIAL, "datetime_start": "now"}],
}


@pytest.mark.slow
@pytest.mark.parametrize("journal", JOURNALS)
def test_a_journal_of_another_search_is_refused(tmp_path: Path, journal: str) -> None:
    opened(tmp_path)
    with (tmp_path / "study.journal").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in JOURNALS[journal])
    with pytest.raises(UserError, match="study.journal"):
        opened(tmp_path)


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[" * 20_000, b'{"op_code": ' + b"9" * 5000 + b"}", b"\0"])
def test_a_journal_that_is_not_json_is_refused(tmp_path: Path, line: bytes) -> None:
    opened(tmp_path)
    file = tmp_path / "study.journal"
    file.write_bytes(line + b"\n" + file.read_bytes())
    with pytest.raises(UserError, match="study.journal"):
        opened(tmp_path)


def test_a_journal_of_other_objectives_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(UserError, match="study.journal"):
        opened(tmp_path, objectives=("recall_at_1", "minutes"))


def test_a_journal_of_this_sweep_is_reopened(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for _ in range(12):
        trial = study.ask()
        study.report(trial.number, 1, 0.25)
        study.tell(trial.number, "complete", 0.5, 1.0)
    last = study.ask()
    assert [asked.values for asked in opened(tmp_path).unfinished()] == [last.values]


def test_a_journal_that_is_a_symbolic_link_is_never_written(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("mine, without a line's end")
    (tmp_path / "study.journal").symlink_to(own)
    with pytest.raises(UserError, match="study.journal"):
        opened(tmp_path)
    assert own.read_text() == "mine, without a line's end"
    (tmp_path / "study.journal").unlink()
    os.mkfifo(tmp_path / "study.journal")
    with pytest.raises(UserError, match="study.journal"):
        opened(tmp_path)


def test_trial_folders_stay_inside_the_sweep_folder(tmp_path: Path) -> None:
    """What is removed of one that is no candidate any more would be removed elsewhere."""
    folder = SweepDir(tmp_path / "sweep")
    (tmp_path / "sweep" / "trials").mkdir(parents=True)
    (tmp_path / "sweep" / "trials" / "0003").symlink_to(tmp_path)
    with pytest.raises(UserError, match="0003"):
        folder.trial(3)
    assert folder.trial(4).path == tmp_path / "sweep" / "trials" / "0004"


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "{", "[" * 20_000, '{"number": "../../a", "values": {}}', '{"number": 1, "values": []}',
     '{"number": 1, "values": {}, "state": "gone"}', '{"number": 1, "values": {}, "curve": [3]}'],
    ids=lambda content: content[:40],
)  # fmt: skip
def test_an_invalid_trial_is_refused(tmp_path: Path, content: str) -> None:
    folder = SweepDir(tmp_path)
    (tmp_path / "trials" / "0001").mkdir(parents=True)
    (tmp_path / "trials" / "0001" / "trial.json").write_text(content)
    with pytest.raises(UserError, match=r"trial\.json"):
        folder.trials()


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"search": "a"}', '{"search": -1}', '{"search": NaN}'])
def test_invalid_durations_are_refused(tmp_path: Path, content: str) -> None:
    folder = SweepDir(tmp_path)
    folder.spent_file.write_text(content)
    with pytest.raises(UserError, match=folder.spent_file.name):
        folder.seconds_spent()


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"videos": 1}', '{"videos": {"count": "a"}, "settings": [], "recipe": {}, "epochs": 1}']
)
def test_invalid_settings_are_refused(tmp_path: Path, content: str) -> None:
    folder = SweepDir(tmp_path)
    folder.settings_file.write_text(content)
    with pytest.raises(UserError, match=r"sweep\.json|videos"):
        folder._check_same({})


@pytest.mark.parametrize("step", [1e-300, 1e-9, 0.01 / MAX_COMBINATIONS])
def test_a_grid_has_a_maximum_size(step: float) -> None:
    plan = sweep_of(search_space={"stage2.sinkhorn_epsilon": {"low": 0.01, "high": 1.0, "step": step}}, sampler="grid")
    with pytest.raises(UserError, match="combinations"):
        _ = plan.total
    assert sweep_of(search_space={"stage2.sinkhorn_epsilon": {"low": 0.01, "high": 1.0, "step": step}}).total == 20
