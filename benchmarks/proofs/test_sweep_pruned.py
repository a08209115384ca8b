"""Pruning: a pruned trial takes no step after the score that ended it."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.sweeps import SCORED, sweep_file
from vicc_ray.pipelines.sweep.run import run_sweep
from vicc_ray.sweep.config import load_sweep
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.sweep.trial import Trial
from vicc_ray.sweep.trial_config import Sweep


def test_pruned_trial_trains_no_step_after_the_score_that_ended_it(store: Path, tmp_path: Path) -> None:
    changes = {"search_space": {"stage2.learning_rate": {"choices": [0.04, 0.05]}}, "final_eval": {"num_seeds": 0}}
    prune = {"method": "asha", "grace_period": SCORED[0], "reduction_factor": 2}
    settings, folder = load_sweep(sweep_file(tmp_path, prune=prune, **changes)), SweepDir(tmp_path / "out")
    folder.path.mkdir()
    study = SweepStudy(folder.study_file, Sweep(settings))
    unreachable = study.ask()
    study.report(unreachable.number, SCORED[0], 2.0)
    study.tell(unreachable.number, "complete", 2.0, 0.0)
    folder.trial(0).write(Trial(0, unreachable.values, "complete", "", 2.0))
    trial = run_sweep(settings, store, folder.path, progress=False).trials[1]
    assert trial.state == "pruned"
    assert [score.epoch for score in trial.curve] == SCORED[:1]
    assert trial.cost.epochs == SCORED[0]
