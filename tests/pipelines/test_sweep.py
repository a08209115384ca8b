"""A sweep on real Ray: what is killed is begun again, what failed is told, what was found comes out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.pipelines.processes import command, kill_below, wait_until
from tests.pipelines.runs import computed_here, losses, settings
from vicc_ray.errors import UserError
from vicc_ray.pipelines.sweep import sweep
from vicc_ray.recipe import dump_config, load_config
from vicc_ray.sweep.folder import SweepFolder
from vicc_ray.sweep.found import Summary
from vicc_ray.sweep.plan import Sweep
from vicc_ray.sweep.records import Trial
from vicc_ray.sweep.settings import load_sweep
from vicc_ray.sweep.study import SweepStudy
from vicc_ray.training.json_lines import read_lines
from vicc_ray.training.run_folder import RunFolder

EPOCHS, SCORED = 24, [8, 16, 24]
DIVERGES = 1e30
"""A learning rate."""


def sweep_file(folder: Path, **changes: Any) -> Path:
    """A sweep over learning rates of which one diverges."""
    recipe, file = folder / "recipe.yaml", folder / "sweep.yaml"
    recipe.write_text(dump_config(settings(train={"checkpoint_steps": 2, "evaluate_epochs": 8})))
    content = {
        **{"name": "rates", "recipe": str(recipe), "sampler": "grid", "validation_share": 0.25},
        **{"search": {"stage2.learning_rate": {"choice": [DIVERGES, 0.05]}}},
        **{"fixed": {"schedule.alternation_period": EPOCHS, "schedule.stage2_cosine_epochs": 0}},
        **{"budget": {"epochs": EPOCHS}, "prune": {"method": "none"}, "final": {"seeds": 1}},
    }
    file.write_text(yaml.safe_dump({**content, **changes}))
    return file


@pytest.fixture(scope="module")
def disturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepFolder, Summary]:
    """The first trial fails; of the second its process is killed, then the whole command; then it goes on."""
    folder = SweepFolder(tmp_path_factory.mktemp("sweep") / "out")
    file, second = sweep_file(folder.path.parent), folder.trial(1).run
    with command("sweep", str(file), "--store", str(store), "--out", str(folder.path), "--quiet") as process:
        wait_until(lambda: second.step > 0, process)
        kill_below(process, "ray::ImplicitFunc")
        wait_until(lambda: len(_beginnings(second)) == 2, process)
    assert [trial.state for trial in folder.trials()] == ["failed", "running"]
    return folder, sweep(load_sweep(file), store, folder.path, progress=False)


def test_no_trial_is_lost_or_made_twice(disturbed: tuple[SweepFolder, Summary]) -> None:
    folder, summary = disturbed
    assert [trial.state for trial in summary.trials] == ["failed", "complete"]
    assert [trial.values["stage2.learning_rate"] for trial in summary.trials] == [DIVERGES, 0.05]
    assert "training has diverged" in summary.trials[0].reason
    begun = [_beginnings(folder.trial(number).run) for number in (0, 1)]
    assert begun[0] == [0]
    assert begun[1] == sorted(begun[1]), "it went back"
    assert begun[1].count(0) == 1, "it began anew"
    assert len(begun[1]) == 3
    assert [score.epoch for score in summary.trials[1].curve] == SCORED
    assert summary.trials[1].cost.epochs == EPOCHS


def test_trials_share_one_stage_1(disturbed: tuple[SweepFolder, Summary]) -> None:
    """With one for each seed of the last runs, which train on all videos."""
    folder, _ = disturbed
    runs = [path for path in folder.stage1.iterdir() if path.is_dir()]
    seeds = sorted(load_config(str(path / "config.yaml")).seed for path in runs)
    assert seeds == [0, 1000]
    assert all(len(losses(path)) > 0 for path in runs)


def test_the_best_is_judged_by_the_test_videos_beside_the_default(disturbed: tuple[SweepFolder, Summary]) -> None:
    """Here they are the same, so there is one run."""
    _, summary = disturbed
    assert summary.best == summary.trials[1]
    assert [(run.setting, len(run.recall_at_1)) for run in summary.judged] == [("default", 1)]


def test_what_is_written_tells_the_same(disturbed: tuple[SweepFolder, Summary]) -> None:
    folder, summary = disturbed
    table = pq.read_table(folder.table_file).to_pylist()
    assert [row["recall_at_1"] for row in table] == [trial.recall_at_1 for trial in summary.trials]
    assert [row["stage2.learning_rate"] for row in table] == [DIVERGES, 0.05]
    assert [len(row["scores"]) for row in table] == [0, len(SCORED)]
    assert json.loads(folder.summary_file.read_text())["best"]["number"] == summary.best.number


def test_the_best_recipe_makes_the_best_trial_again(disturbed: tuple[SweepFolder, Summary], store: Path) -> None:
    """From its very beginning, stage 1 included, to the bit: then its network and its R@1 are the same too."""
    folder, _ = disturbed
    best = load_config(str(folder.best_file))
    assert best.train.validation_share == 0.25
    again = [float(f"{loss:.9g}") for loss in computed_here(best, store)]
    trained = [line["loss"] for line in read_lines(folder.trial(1).run.metrics_file)]
    assert again[-len(trained) :] == trained


def test_other_settings_in_the_same_folder_are_refused(disturbed: tuple[SweepFolder, Summary], store: Path) -> None:
    folder, _ = disturbed
    file = sweep_file(folder.path.parent, seed=3)
    with pytest.raises(UserError, match=r"sweep with other settings \(seed: 0 -> 3\)"):
        sweep(load_sweep(file), store, folder.path, progress=False)


def test_a_sweep_in_which_all_fail_says_why(store: Path, tmp_path: Path) -> None:
    settings, folder = load_sweep(sweep_file(tmp_path)), SweepFolder(tmp_path / "out")
    folder.path.mkdir()
    study = SweepStudy(folder.study_file, Sweep(settings))
    for reason in ("out of memory", "training has diverged"):
        asked = study.ask()
        study.tell(asked.number, "failed", None, 0.0, reason)
        folder.trial(asked.number).write(Trial(asked.number, asked.values, "failed", reason))
    with pytest.raises(UserError, match=r"no trial .* came to its end .*: out of memory; training has diverged"):
        sweep(settings, store, folder.path, progress=False)


def _beginnings(run: RunFolder) -> list[int]:
    """The steps that its workers began at."""
    steps = [line["step"] for line in read_lines(run.attempts.file) if "step" in line]
    return [step for step in steps if step >= 0]
