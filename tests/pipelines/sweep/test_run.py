"""Sweep on real Ray: reasons of failed trials and reproducible results. Fault tolerance: ``benchmarks/proofs``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipelines.listening import external_listeners
from tests.pipelines.runs import reference_losses
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
    """Sweep of two trials, of which the first fails."""
    folder = SweepDir(tmp_path_factory.mktemp("sweep") / "out")
    file = sweep_file(folder.path.parent, final_eval={"num_seeds": 0})
    with external_listeners() as listeners:
        summary = run_sweep(load_sweep(file), store, folder.path, progress=False)
    assert not listeners, "processes of a trial must listen on loopback only"
    return folder, summary


def test_failed_trial_has_a_reason_and_the_other_is_best(done: tuple[SweepDir, SweepSummary]) -> None:
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


def test_table_and_summary_files_match_the_result(done: tuple[SweepDir, SweepSummary]) -> None:
    folder, summary = done
    table = pq.read_table(folder.table_file).to_pylist()
    assert [row["recall_at_1"] for row in table] == [trial.recall_at_1 for trial in summary.trials]
    assert [row["stage2.learning_rate"] for row in table] == [DIVERGES, 0.05]
    assert [len(row["scores"]) for row in table] == [0, len(SCORED)]
    assert json.loads(folder.summary_file.read_text())["best"]["number"] == summary.best.number


def test_best_recipe_reproduces_the_best_trial(done: tuple[SweepDir, SweepSummary], store: Path) -> None:
    """Its losses from stage 1 on are equal to the bit, and so are its network and its R@1."""
    folder, _ = done
    best = load_config(str(folder.best_file))
    assert best.train.validation_fraction == 0.25
    again = [float(f"{loss:.9g}") for loss in reference_losses(best, store)]
    trained = [line["loss"] for line in read_lines(folder.trial(1).run.metrics_file)]
    assert again[-len(trained) :] == trained


def test_changed_settings_in_a_sweep_folder_are_refused(done: tuple[SweepDir, SweepSummary], store: Path) -> None:
    folder, _ = done
    file = sweep_file(folder.path.parent, final_eval={"num_seeds": 0}, seed=3)
    with pytest.raises(UserError, match=r"sweep with other settings \(seed: 0 -> 3\)"):
        run_sweep(load_sweep(file), store, folder.path, progress=False)


def test_completed_sweep_returns_its_result_on_smaller_nodes(done: tuple[SweepDir, SweepSummary], store: Path) -> None:
    folder, summary = done
    file = sweep_file(folder.path.parent, final_eval={"num_seeds": 0}, resources_per_trial={"cpus": 512})
    again = run_sweep(load_sweep(file), store, folder.path, progress=False)
    assert again.best == summary.best
    more = sweep_file(folder.path.parent, final_eval={"num_seeds": 1}, resources_per_trial={"cpus": 512})
    with pytest.raises(UserError, match=r"resources_per_trial\.cpus"):
        run_sweep(load_sweep(more), store, folder.path, progress=False)


def test_sweep_without_a_completed_trial_gives_the_reasons(store: Path, tmp_path: Path) -> None:
    settings, folder = load_sweep(sweep_file(tmp_path)), SweepDir(tmp_path / "out")
    folder.path.mkdir()
    study = SweepStudy(folder.study_file, Sweep(settings))
    for reason in ("out of memory", "training has diverged"):
        suggestion = study.ask()
        study.tell(suggestion.number, "failed", None, 0.0, reason)
        folder.trial(suggestion.number).write(Trial(suggestion.number, suggestion.values, "failed", reason))
    with pytest.raises(UserError, match=r"no trial .* completed .*: out of memory; training has diverged"):
        run_sweep(settings, store, folder.path, progress=False)
