"""Progress from a run's files: each new line once, also when a resumed run replaces the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vicc_ray.config import ScheduleConfig
from vicc_ray.pipelines.train.progress import JsonLinesTail, RunProgress
from vicc_ray.reports.run.curves import read_phases
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.workload import Workload
from vicc_ray.utils.fs import atomic_write

WORKLOAD = Workload(
    GlobalBatchSampler(videos=10, batch=5, seed=0),
    build_phases(ScheduleConfig(rgb_epochs=20, flow_epochs=20, stage1_cosine_epochs=20, cycles=0)),
)


def line(step: int) -> str:
    return json.dumps({"step": step, "phase": "rgb-stage1"}) + "\n"


def steps(tail: JsonLinesTail) -> list[int]:
    return [record["step"] for record in tail.read()]


def test_new_lines_are_read_once_and_complete(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = JsonLinesTail(file)
    assert steps(tail) == []
    file.write_text(line(1) + line(2)[:9])
    assert steps(tail) == [1]
    with file.open("a") as out:
        out.write(line(2)[9:])
    assert steps(tail) == [2]
    assert steps(tail) == []


def test_existing_lines_are_skipped_and_a_replaced_file_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + line(2))
    tail = JsonLinesTail(file)
    assert steps(tail) == []
    atomic_write(file, line(1))
    assert steps(tail) == []
    with file.open("a") as out:
        out.write(line(3))
    assert steps(tail) == [3]


def test_every_warning_of_a_step_is_read(tmp_path: Path) -> None:
    file = tmp_path / "warnings.jsonl"
    tail = JsonLinesTail(file, ("step", "phase", "kind"))
    for kind in ("uniform_assignments", "dimensional_collapse"):
        with file.open("a") as out:
            out.write(json.dumps({"step": 9, "phase": "rgb-stage1", "kind": kind}) + "\n")
        assert [record["kind"] for record in tail.read()] == [kind]


def test_warning_is_printed_verbatim_and_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunDir(tmp_path)
    follower = RunProgress(folder, WORKLOAD)
    warning = {"step": 9, "epoch": 3, "phase": "rgb-stage1", "kind": "tracker_wandb", "text": "no [key]"}
    folder.warnings_file.write_text(json.dumps(warning) + "\n")
    follower._update()
    follower._update()
    assert capsys.readouterr().err.count("warning: rgb-stage1, epoch 3: no [key]") == 1


def step_line(step: int, phase: str, loss: float) -> str:
    timing = {"data_ms": 10.0, "compute_ms": 90.0, "samples_per_s": 50.0}
    return json.dumps({"step": step, "phase": phase, "loss": loss, **timing}) + "\n"


def test_printed_losses_of_a_phase_equal_those_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunDir(tmp_path)
    follower = RunProgress(folder, WORKLOAD)
    ends = WORKLOAD.ends
    losses = np.random.default_rng(0).normal(3.0, 0.5, size=ends["flow-stage1"])
    with folder.metrics_file.open("w") as out:
        for step, loss in enumerate(losses.tolist(), start=1):
            out.write(step_line(step, "rgb-stage1" if step <= ends["rgb-stage1"] else "flow-stage1", loss))
    follower._update()
    printed = capsys.readouterr().err
    for phase in read_phases(folder.metrics_file, batch=5):
        assert f"{phase['phase']} ended at step {ends[phase['phase']]}: loss {phase['start']['loss']:.2f}" in printed
        assert f"-> {phase['end']['loss']:.2f}" in printed


def test_score_of_an_earlier_phase_is_not_shown_in_the_next(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    follower = RunProgress(folder, WORKLOAD)
    folder.metrics_file.write_text(step_line(40, "rgb-stage1", 3.0) + step_line(41, "flow-stage1", 2.0))
    follower._update()
    check = {"step": 40, "phase": "rgb-stage1", "epoch": 20, "stream": "rgb", "recall_at_1": 0.375, "videos": 8}
    folder.validation_file.write_text(json.dumps(check) + "\n")
    follower._update()
    assert follower.score == ""
    current = {**check, "step": 41, "phase": "flow-stage1", "stream": "flow"}
    with folder.validation_file.open("a") as out:
        out.write(json.dumps(current) + "\n")
    follower._update()
    assert "37.5" in follower.score


def test_time_left_weights_cross_stream_steps(tmp_path: Path) -> None:
    schedule = ScheduleConfig(rgb_epochs=5, flow_epochs=0, stage1_cosine_epochs=5, cycles=1, epochs_per_phase=5)
    planned = Workload(GlobalBatchSampler(videos=10, batch=5, seed=0), build_phases(schedule))
    follower = RunProgress(RunDir(tmp_path), planned)
    follower.recent.extend({"step": step, "data_ms": 100.0, "compute_ms": 900.0} for step in range(1, 6))
    assert planned.steps == 30
    assert follower._seconds_left(5) == pytest.approx(5 + 20 * 4 / 3)


def test_steps_before_a_resume_do_not_count_for_speed(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    folder.metrics_file.write_text("".join(step_line(step, "rgb-stage1", 2.0) for step in range(1, 31)))
    follower = RunProgress(folder, WORKLOAD)
    assert not follower.recent and follower._seconds_left(30) is None
    assert follower.losses == [2.0] * 30  # losses of the resumed phase count, so that its end covers all its steps
