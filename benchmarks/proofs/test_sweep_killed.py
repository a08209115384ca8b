"""Fault tolerance of a sweep: after a killed trial and a killed driver, trials resume; none is lost or repeated."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.pipelines.processes import DEADLINE_S, command, kill_below, wait_until
from tests.pipelines.runs import losses
from tests.pipelines.sweeps import DIVERGES, EPOCHS, SCORED, sweep_file
from vicc_ray.config.loader import load_config
from vicc_ray.pipelines.sweep.run import run_sweep
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.sweep.config import load_sweep
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.utils.jsonl import read_lines


@pytest.fixture(scope="module")
def disturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepDir, SweepSummary]:
    """A sweep that is killed and resumed.

    The first trial fails. Of the second, the trial process is killed, then the command, then it is interrupted as with
    Ctrl-C. A last call completes the sweep.
    """
    folder = SweepDir(tmp_path_factory.mktemp("sweep") / "out")
    file, second = sweep_file(folder.path.parent), folder.trial(1).run
    arguments = ("sweep", str(file), "--store", str(store), "--out", str(folder.path), "--quiet")
    with command(*arguments) as process:
        wait_until(lambda: second.step > 0, process)
        kill_below(process, "ray::ImplicitFunc")
        wait_until(lambda: len(_start_steps(second)) == 2, process)
    with command(*arguments) as process:
        wait_until(lambda: len(_start_steps(second)) == 3, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert "the same command continues" in process.stderr.read()
    assert [trial.state for trial in folder.trials()] == ["failed", "running"]
    return folder, run_sweep(load_sweep(file), store, folder.path, progress=False)


def test_no_trial_is_lost_or_repeated(disturbed: tuple[SweepDir, SweepSummary]) -> None:
    folder, summary = disturbed
    assert [trial.state for trial in summary.trials] == ["failed", "complete"]
    assert [trial.values["stage2.learning_rate"] for trial in summary.trials] == [DIVERGES, 0.05]
    assert "training has diverged" in summary.trials[0].reason
    start_steps = [_start_steps(folder.trial(number).run) for number in (0, 1)]
    assert start_steps[0] == [0]
    assert start_steps[1] == sorted(start_steps[1]), "a restart resumed at an earlier step"
    assert start_steps[1].count(0) == 1, "a restart began at step 0"
    assert len(start_steps[1]) == 4
    assert [score.epoch for score in summary.trials[1].curve] == SCORED
    assert summary.trials[1].cost.epochs == EPOCHS


def test_trials_share_one_stage_1(disturbed: tuple[SweepDir, SweepSummary]) -> None:
    """And one per seed of the final runs, which train on all videos."""
    folder, _ = disturbed
    runs = [path for path in folder.stage1.iterdir() if path.is_dir()]
    seeds = sorted(load_config(str(path / "config.yaml")).seed for path in runs)
    assert seeds == [0, 1000]
    assert all(len(losses(path)) > 0 for path in runs)


def test_best_and_default_settings_are_evaluated_on_the_test_videos(disturbed: tuple[SweepDir, SweepSummary]) -> None:
    """Best and default are the same trial here, so there is one run."""
    _, summary = disturbed
    assert summary.best == summary.trials[1]
    assert [(run.setting, len(run.recall_at_1)) for run in summary.final_eval] == [("default", 1)]


def _start_steps(run: RunDir) -> list[int]:
    """Steps at which the workers started."""
    return [line["step"] for line in read_lines(run.restarts.file) if "step" in line]
