"""Times of a job's parts, added up over its restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicc_ray.runs.stage_times import FILE, stage_seconds, stage_timer
from vicc_ray.utils.jsonl import append_line


def test_interrupted_stages_are_timed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), stage_timer(tmp_path, "pretraining"):
        raise KeyboardInterrupt
    with stage_timer(tmp_path, "pretraining"):
        pass
    assert list(stage_seconds(tmp_path)) == ["pretraining"]
    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_times_of_repeated_stages_add_up(tmp_path: Path) -> None:
    for stage, seconds in (("preparing", 3.0), ("pretraining", 20.0), ("pretraining", 22.5)):
        append_line(tmp_path / FILE, {"stage": stage, "begun_ms": 0, "seconds": seconds})
    assert stage_seconds(tmp_path) == {"preparing": 3.0, "pretraining": 42.5}


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    with stage_timer(tmp_path / "run", "pretraining"):
        pass
    assert not (tmp_path / "run").exists() and stage_seconds(tmp_path / "run") == {}
