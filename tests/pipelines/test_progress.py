"""Following a run's files: what is new, once, through the replacement that a resumed run makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vicc_ray.files import atomic_write
from vicc_ray.pipelines.progress import _Follower, _Tail
from vicc_ray.training.run_folder import RunFolder


def line(step: int) -> str:
    return json.dumps({"step": step, "turn": "rgb-stage1"}) + "\n"


def steps(tail: _Tail) -> list[int]:
    return [found["step"] for found in tail.read()]


def test_new_lines_come_once_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = _Tail(file)
    assert steps(tail) == []
    file.write_text(line(1) + line(2)[:9])
    assert steps(tail) == [1]
    with file.open("a") as out:
        out.write(line(2)[9:])
    assert steps(tail) == [2]
    assert steps(tail) == []


def test_what_was_there_is_left_out_and_a_replaced_file_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + line(2))
    tail = _Tail(file)
    assert steps(tail) == []
    atomic_write(file, line(1))
    assert steps(tail) == []
    with file.open("a") as out:
        out.write(line(3))
    assert steps(tail) == [3]


def test_warnings_of_one_step_come_each(tmp_path: Path) -> None:
    file = tmp_path / "warnings.jsonl"
    tail = _Tail(file, ("step", "turn", "kind"))
    for kind in ("uniform", "flat"):
        with file.open("a") as out:
            out.write(json.dumps({"step": 9, "turn": "rgb-stage1", "kind": kind}) + "\n")
        assert [found["kind"] for found in tail.read()] == [kind]


def test_a_warning_is_shown_as_it_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path)
    follower = _Follower(folder, total=10)
    warning = {"step": 9, "epoch": 3, "turn": "rgb-stage1", "kind": "tracker-wandb", "text": "no [key]"}
    folder.warnings_file.write_text(json.dumps(warning) + "\n")
    follower._update(ending=True)
    follower._update(ending=True)
    assert capsys.readouterr().err.count("warning: rgb-stage1, epoch 3: no [key]") == 1
