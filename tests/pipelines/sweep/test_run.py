"""A sweep on real Ray: what failed is told, what was found comes out again. ``benchmarks/proofs`` has one disturbed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipelines.listening import heard_outside
from tests.pipelines.runs import computed_here
from tests.pipelines.sweeps import DIVERGES, EPOCHS, SCORED, sweep_file
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.sweep.run import run_sweep
from vicc_ray.sweep.config import load_sweep
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.sweep.trial import Trial
from vicc_ray.sweep.trial_config import Sweep
from vicc_ray.utils.jsonl import read_lines


@pytest.fixture(scope="module")
def done(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepDir, SweepSummary]:
    """Two trials, of which the first fails."""
    folder = SweepDir(tmp_path_factory.mktemp("sweep") / "out")
    file = sweep_file(folder.path.parent, final_eval={"num_seeds": 0})
    with heard_outside() as heard:
        summary = run_sweep(load_sweep(file), store, folder.path, progress=False)
    assert not heard, "trials train in processes of their own, and listen to this machine alone as well"
    return folder, summary


def test_the_trial_that_fails_says_why_and_the_other_is_the_best(done: tuple[SweepDir, SweepSummary]) -> None:
    _, summary = done
    assert [trial.state for trial in summary.trials] == ["failed", "complete"]
    assert [trial.values["stage2.learning_rate"] for trial in summary.trials] == [DIVERGES, 0.05]
    diverged = r"at step \d+ \(phase rgb-stage2-1\): training has diverged. Lower optimizer"
    assert re.search(diverged, summary.trials[0].reason)
    assert [score.epoch for score in summary.trials[1].curve] == SCORED
    assert summary.trials[1].cost.epochs == EPOCHS
    assert summary.best == summary.trials[1]


def test_trials_share_one_stage_1(done: tuple[SweepDir, SweepSummary]) -> None:
    folder, _ = done
    assert len([path for path in folder.stage1.iterdir() if path.is_dir()]) == 1


def test_what_is_written_tells_the_same(done: tuple[SweepDir, SweepSummary]) -> None:
    folder, summary = done
    table = pq.read_table(folder.table_file).to_pylist()
    assert [row["recall_at_1"] for row in table] == [trial.recall_at_1 for trial in summary.trials]
    assert [row["stage2.learning_rate"] for row in table] == [DIVERGES, 0.05]
    assert [len(row["scores"]) for row in table] == [0, len(SCORED)]
    assert json.loads(folder.summary_file.read_text())["best"]["number"] == summary.best.number


def test_the_best_recipe_makes_the_best_trial_again(done: tuple[SweepDir, SweepSummary], store: Path) -> None:
    """From its very beginning, stage 1 included, to the bit: then its network and its R@1 are the same too."""
    folder, _ = done
    best = load_config(str(folder.best_file))
    assert best.train.validation_fraction == 0.25
    again = [float(f"{loss:.9g}") for loss in computed_here(best, store)]
    trained = [line["loss"] for line in read_lines(folder.trial(1).run.metrics_file)]
    assert again[-len(trained) :] == trained


def test_other_settings_in_the_same_folder_are_refused(done: tuple[SweepDir, SweepSummary], store: Path) -> None:
    folder, _ = done
    file = sweep_file(folder.path.parent, final_eval={"num_seeds": 0}, seed=3)
    with pytest.raises(UserError, match=r"sweep with other settings \(seed: 0 -> 3\)"):
        run_sweep(load_sweep(file), store, folder.path, progress=False)


def test_a_finished_sweep_tells_its_result_again_on_smaller_machines(
    done: tuple[SweepDir, SweepSummary], store: Path
) -> None:
    folder, summary = done
    file = sweep_file(folder.path.parent, final_eval={"num_seeds": 0}, resources_per_trial={"cpus": 512})
    again = run_sweep(load_sweep(file), store, folder.path, progress=False)
    assert again.best == summary.best
    more = sweep_file(folder.path.parent, final_eval={"num_seeds": 1}, resources_per_trial={"cpus": 512})
    with pytest.raises(UserError, match=r"resources_per_trial\.cpus"):
        run_sweep(load_sweep(more), store, folder.path, progress=False)


def test_a_sweep_in_which_all_fail_says_why(store: Path, tmp_path: Path) -> None:
    settings, folder = load_sweep(sweep_file(tmp_path)), SweepDir(tmp_path / "out")
    folder.path.mkdir()
    study = SweepStudy(folder.study_file, Sweep(settings))
    for reason in ("out of memory", "training has diverged"):
        asked = study.ask()
        study.tell(asked.number, "failed", None, 0.0, reason)
        folder.trial(asked.number).write(Trial(asked.number, asked.values, "failed", reason))
    with pytest.raises(UserError, match=r"no trial .* completed .*: out of memory; training has diverged"):
        run_sweep(settings, store, folder.path, progress=False)
