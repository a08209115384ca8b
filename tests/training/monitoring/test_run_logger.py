"""What a run writes down of itself: whole, once, through resumption, and with what went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.event_file import shown
from tests.training.fixtures import small_config
from vicc_ray.config import Config
from vicc_ray.runs.checkpoint_state import FORMAT, STATE
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import Phase, build_phases
from vicc_ray.training.monitoring.run_logger import TRACKER_INTERVAL, RunLogger
from vicc_ray.utils.jsonl import append_line, read_lines

CONFIG = small_config()
RGB, FLOW, CROSS = build_phases(CONFIG.schedule)[:3]
GOOD = {
    **{"steps": 50.0, "loss": 1.0, "entropy": 1.75, "assignment_entropy": 0.8, "gradient_norm": 2.0},
    **{"effective_rank": 6.0, "prototypes_in_use": 1.0, "prototypes_effective": 0.9},
}
COLLAPSED = {**GOOD, "assignment_entropy": 1.79, "effective_rank": 1.1}


@pytest.fixture
def folder(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.open(CONFIG)
    return run


def step_line(step: int, loss: float = 1.0) -> dict[str, Any]:
    return {"step": step, "epoch": 0, "phase": RGB.name, "stage": 1, "stream": "rgb", "loss": loss, "workers": 2}


def written(folder: RunDir, config: Config, resumed_at: int, last: int, loss: float) -> None:
    """Steps after ``resumed_at`` up to ``last``, an epoch every 20 of them."""
    journal = RunLogger(folder, config, resumed_at)
    for step in range(resumed_at + 1, last + 1):
        journal.step(step_line(step, loss))
        if step % 20 == 0:
            journal.end_epoch(RGB, step, step // 20, {**GOOD, "loss": loss})
    journal.close(RGB, last)


def test_steps_and_epochs_are_lines_and_curves(folder: RunDir) -> None:
    written(folder, CONFIG, 0, 40, loss=1.0)
    assert [line["step"] for line in read_lines(folder.metrics_file)] == list(range(1, 41))
    first, second = read_lines(folder.epochs_file)
    assert (first["step"], first["epoch"], first["phase"], first["problems"]) == (20, 1, "rgb-stage1", [])
    assert second["effective_rank"] == 6.0 and second["ln_k"] == pytest.approx(1.791759)
    curves = shown(folder.path / "tensorboard")
    assert [step for step, _ in curves["step/loss"]] == list(range(TRACKER_INTERVAL, 41, TRACKER_INTERVAL))
    assert curves["epoch/effective_rank"] == [(20, 6.0), (40, 6.0)]
    assert not {"step/epoch", "step/phase", "step/workers", "epoch/problems"} & set(curves)


def test_a_run_that_goes_on_writes_nothing_twice(folder: RunDir) -> None:
    written(folder, CONFIG, 0, 55, loss=1.0)
    written(folder, CONFIG, 30, 60, loss=2.0)
    lines = read_lines(folder.metrics_file)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert [line["loss"] for line in lines] == [1.0] * 30 + [2.0] * 30
    assert [line["step"] for line in read_lines(folder.epochs_file)] == [20, 40, 60]
    curves = shown(folder.path / "tensorboard")
    assert curves["step/loss"] == [(10, 1.0), (20, 1.0), (30, 1.0), (40, 2.0), (50, 2.0), (60, 2.0)]
    assert curves["epoch/loss"] == [(20, 1.0), (40, 2.0), (60, 2.0)]


def test_a_problem_is_told_when_it_begins(folder: RunDir) -> None:
    journal = RunLogger(folder, CONFIG, 0)
    for n, figures in enumerate((GOOD, COLLAPSED, COLLAPSED, GOOD, COLLAPSED), 1):
        found = journal.end_epoch(RGB, 50 * n, n, figures)
        assert {p.kind for p in found} == (
            set() if figures is GOOD else {"uniform_assignments", "dimensional_collapse"}
        )
    journal.close(RGB, 250)
    told = [(line["epoch"], line["kind"]) for line in read_lines(folder.warnings_file)]
    assert told == [
        (2, "uniform_assignments"),
        (2, "dimensional_collapse"),
        (5, "uniform_assignments"),
        (5, "dimensional_collapse"),
    ]
    assert [len(line["problems"]) for line in read_lines(folder.epochs_file)] == [0, 2, 2, 0, 2]
    assert "method.sinkhorn_epsilon (now 0.05)" in read_lines(folder.warnings_file)[0]["text"]


def test_a_resumed_run_does_not_repeat_a_problem_that_goes_on(folder: RunDir) -> None:
    for resumed_at in (0, 50, 100):
        journal = RunLogger(folder, CONFIG, resumed_at)
        journal.end_epoch(RGB, resumed_at + 50, resumed_at // 50 + 1, COLLAPSED)
        journal.close(RGB, resumed_at + 50)
    assert [line["kind"] for line in read_lines(folder.warnings_file)] == [
        "uniform_assignments",
        "dimensional_collapse",
    ]


def test_what_is_no_number_is_null(folder: RunDir) -> None:
    journal = RunLogger(folder, CONFIG, 0)
    journal.step(step_line(1, loss=float("nan")))
    (problem,) = journal.end_epoch(RGB, 1, 1, {**GOOD, "loss": float("inf"), "gradient_norm": float("nan")})
    journal.close(RGB, 1)
    assert problem.kind == "diverged"
    for file in (folder.metrics_file, folder.epochs_file):
        assert json.loads(file.read_text(), parse_constant=pytest.fail)["loss"] is None


def begun(folder: RunDir, phase: Phase, start_from: Path | None = None) -> list[str]:
    journal = RunLogger(folder, CONFIG, 100, start_from)
    kinds = [problem.kind for problem in journal.start_phase(phase, 100)]
    journal.close(phase, 100)
    return kinds


def test_stage_two_from_a_collapsed_stage_one_says_so_once(folder: RunDir) -> None:
    journal = RunLogger(folder, CONFIG, 0)
    journal.end_epoch(RGB, 50, 1, COLLAPSED)
    journal.end_epoch(FLOW, 100, 2, GOOD)
    journal.close(FLOW, 100)
    assert begun(folder, FLOW) == []
    for _ in range(2):
        assert begun(folder, CROSS) == ["starts_from_rgb_uniform_assignments", "starts_from_rgb_dimensional_collapse"]
    told = [line for line in read_lines(folder.warnings_file) if line["phase"] == CROSS.name]
    assert [line["kind"] for line in told] == [
        "starts_from_rgb_uniform_assignments",
        "starts_from_rgb_dimensional_collapse",
    ]
    assert "rgb-stage1" in told[0]["text"] and "uniform" in told[0]["text"]


def test_stage_two_knows_the_run_that_its_weights_come_from(folder: RunDir, tmp_path: Path) -> None:
    other = RunDir(tmp_path / "other")
    other.open(CONFIG)
    checkpoint = other.path / "checkpoints" / "phase-1-flow-stage1"
    checkpoint.mkdir(parents=True)
    (checkpoint / STATE).write_text(json.dumps({"format": FORMAT, "step": 100}))
    for step, figures in ((50, GOOD), (100, COLLAPSED), (150, GOOD)):  # the last came after the checkpoint
        append_line(
            other.epochs_file, {"step": step, "phase": "flow-stage1", "stream": "flow", "ln_k": 1.79, **figures}
        )
    assert begun(folder, CROSS, checkpoint) == [
        "starts_from_flow_uniform_assignments",
        "starts_from_flow_dimensional_collapse",
    ]


def test_held_out_checks_are_passed_on_once(folder: RunDir) -> None:
    """Another process writes them, whenever it is done."""
    check = {"step": 20, "epoch": 1, "phase": RGB.name, "stream": "rgb", "recall_at_1": 0.5, "videos": 40}
    journal = RunLogger(folder, CONFIG, 0)
    append_line(folder.validation_file, check)
    journal.end_epoch(RGB, 40, 2, GOOD)
    journal.end_epoch(RGB, 60, 3, GOOD)
    append_line(folder.validation_file, {**check, "step": 40, "recall_at_1": 0.75})
    journal.close(RGB, 60)
    written(folder, CONFIG, 60, 80, loss=1.0)
    assert shown(folder.path / "tensorboard")["held_out/rgb/recall_at_1"] == [(20, 0.5), (40, 0.75)]


def test_a_tracker_that_fails_is_a_warning_and_the_run_goes_on(folder: RunDir) -> None:
    (folder.path / "tensorboard").write_text("a file where the folder should be")
    written(folder, CONFIG, 0, 40, loss=1.0)
    assert len(read_lines(folder.metrics_file)) == 40
    (warning,) = read_lines(folder.warnings_file)
    assert warning["kind"] == "tracker_tensorboard" and "metrics.jsonl" in warning["text"]
