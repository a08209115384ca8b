"""A sweep on real Ray: what is killed is begun again, what failed is told, what was found comes out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.pipelines.processes import command, kill_below, wait_until
from tests.pipelines.runs import losses, settings
from vicc_ray.errors import UserError
from vicc_ray.pipelines.pretrain import pretrain
from vicc_ray.pipelines.sweep import sweep
from vicc_ray.recipe import dump_config, load_config
from vicc_ray.sweep.folder import SweepFolder
from vicc_ray.sweep.found import Summary
from vicc_ray.sweep.settings import load_sweep
from vicc_ray.training.json_lines import read_lines

EPOCHS = 4
DIVERGES = 1e30
"""A learning rate."""


def sweep_file(folder: Path, **changes: Any) -> Path:
    """A sweep over learning rates of which one diverges."""
    recipe, file = folder / "recipe.yaml", folder / "sweep.yaml"
    recipe.write_text(dump_config(settings(train={"checkpoint_steps": 2})))
    content = {
        **{"name": "rates", "recipe": str(recipe), "sampler": "grid", "validation_share": 0.25},
        **{"search": {"stage2.learning_rate": {"choice": [0.05, DIVERGES, 0.02]}}},
        **{"fixed": {"schedule.alternation_period": EPOCHS, "schedule.stage2_cosine_epochs": 0}},
        **{"budget": {"epochs": EPOCHS}, "prune": {"method": "none"}, "final": {"seeds": 1}},
    }
    file.write_text(yaml.safe_dump({**content, **changes}))
    return file


@pytest.fixture(scope="module")
def disturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepFolder, Summary]:
    """The trial's process is killed within the first trial, the whole command within the last one; then it goes on."""
    folder = SweepFolder(tmp_path_factory.mktemp("sweep") / "out")
    file = sweep_file(folder.path.parent)
    with command("sweep", str(file), "--store", str(store), "--out", str(folder.path), "--quiet") as process:
        wait_until(lambda: folder.trial(0).run.step > 0, process)
        kill_below(process, "ray::ImplicitFunc")
        wait_until(lambda: folder.trial(2).run.step > 0, process)
    before = len(folder.trials())
    summary = sweep(load_sweep(file), store, folder.path, progress=False)
    assert before == len(summary.trials) == 3
    return folder, summary


def test_no_trial_is_lost_or_made_twice(disturbed: tuple[SweepFolder, Summary]) -> None:
    folder, summary = disturbed
    assert [trial.state for trial in summary.trials] == ["complete", "failed", "complete"]
    assert [trial.values["stage2.learning_rate"] for trial in summary.trials] == [0.05, DIVERGES, 0.02]
    for number in (0, 2):
        begun = [line["step"] for line in read_lines(folder.trial(number).run.attempts.file) if "step" in line]
        assert len([step for step in begun if step >= 0]) == 2
        assert max(begun) > 0, "it began anew"
        scores = summary.trials[number].curve
        assert [score.epoch for score in scores] == list(range(1, EPOCHS + 1))
        assert summary.trials[number].cost.epochs == EPOCHS
    assert "training has diverged" in summary.trials[1].reason


def test_trials_share_one_stage_1(disturbed: tuple[SweepFolder, Summary]) -> None:
    """With one for each seed of the last runs, which train on all videos."""
    folder, _ = disturbed
    runs = [path for path in folder.stage1.iterdir() if path.is_dir()]
    seeds = sorted(load_config(str(path / "config.yaml")).seed for path in runs)
    assert seeds == [0, 1000]
    assert all(len(losses(path)) > 0 for path in runs)


def test_the_best_is_judged_by_the_test_videos_beside_the_default(disturbed: tuple[SweepFolder, Summary]) -> None:
    _, summary = disturbed
    assert summary.best is not None
    assert summary.best.recall_at_1 == max(trial.recall_at_1 or 0 for trial in summary.trials)
    names = ["default"] if summary.best.values["stage2.learning_rate"] == 0.05 else ["best", "default"]
    assert [run.setting for run in summary.judged] == names
    assert all(len(run.recall_at_1) == 1 for run in summary.judged)


def test_what_is_written_tells_the_same(disturbed: tuple[SweepFolder, Summary]) -> None:
    folder, summary = disturbed
    table = pq.read_table(folder.table_file).to_pylist()
    assert [row["recall_at_1"] for row in table] == [trial.recall_at_1 for trial in summary.trials]
    assert [row["stage2.learning_rate"] for row in table] == [0.05, DIVERGES, 0.02]
    assert [len(row["scores"]) for row in table] == [EPOCHS, 0, EPOCHS]
    assert json.loads(folder.summary_file.read_text())["best"]["number"] == summary.best.number


def test_the_best_recipe_makes_the_best_trial_again(
    disturbed: tuple[SweepFolder, Summary], store: Path, tmp_path: Path
) -> None:
    folder, summary = disturbed
    pretrain(load_config(str(folder.best_file)), store, tmp_path / "run", progress=False)
    assert losses(tmp_path / "run")[-4:] == _losses(folder.trial(summary.best.number).run.metrics_file)[-4:]
    last = read_lines(tmp_path / "run" / "evaluations.jsonl")[-1]
    assert last["recall_at_1"] == summary.best.recall_at_1


def test_other_settings_in_the_same_folder_are_refused(disturbed: tuple[SweepFolder, Summary], store: Path) -> None:
    folder, _ = disturbed
    file = sweep_file(folder.path.parent, seed=3)
    with pytest.raises(UserError, match=r"sweep with other settings \(seed: 0 -> 3\)"):
        sweep(load_sweep(file), store, folder.path, progress=False)


def test_a_sweep_in_which_all_fail_says_why(store: Path, tmp_path: Path) -> None:
    file = sweep_file(tmp_path, search={"stage2.learning_rate": {"choice": [DIVERGES]}})
    with pytest.raises(UserError, match=r"no trial came to its end .*training has diverged"):
        sweep(load_sweep(file), store, tmp_path / "out", progress=False)


def _losses(file: Path) -> list[float]:
    return [line["loss"] for line in read_lines(file)]
