"""Following a run's files: what is new, once, through the replacement that a resumed run makes."""

from __future__ import annotations

import json
from pathlib import Path

from vicc_ray.files import atomic_write
from vicc_ray.pipelines.progress import _Tail


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
