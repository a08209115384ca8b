"""A sweep goes on with the same settings and videos and with no others, and is judged by runs of its own best trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stored import store_of, video
from tests.sweep.example_sweep import SEARCH, sweep_of
from tests.sweep.sweep_results import trial_of
from vicc_ray.config import PrepareConfig
from vicc_ray.config.loader import dump_config, load_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.results_io import RESULT_FILE
from vicc_ray.pipelines.sweep.final_eval import FinalRuns
from vicc_ray.sweep.sweep_dir import SweepDir

VIDEOS = [video(n, split="train" if n < 6 else "test") for n in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> SweepDir:
    """A sweep that was begun."""
    found, plan = SweepDir(tmp_path / "sweep"), sweep_of()
    found.open(plan.settings, plan.base, store_of(tmp_path / "store", VIDEOS))
    return found


def go_on(folder: SweepDir, store: Path | None = None, **changes: Any) -> None:
    plan = sweep_of(**changes)
    folder.open(plan.settings, plan.base, store_of(store or folder.path.parent / "store", VIDEOS))


def test_a_sweep_resumes_with_moved_videos_and_settings_that_affect_no_trial(folder: SweepDir, tmp_path: Path) -> None:
    go_on(folder, tmp_path / "moved", max_concurrent_trials=2, budget={"trials": 50}, final_eval={"num_seeds": 1})
    go_on(folder, overrides={})
    recipe = tmp_path / "copy.yaml"
    recipe.write_text(dump_config(load_config("demo", ["name=copied", "ray.cpus=1", "train.checkpoint_every_steps=7"])))
    go_on(folder, recipe=str(recipe))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"search_space": {**SEARCH, "stage2.sinkhorn_epsilon": {"low": 0.02, "high": 1.0, "log": True}}},
            "search_space: ",
        ),
        ({"overrides": {"method.sinkhorn_iterations": 5}}, "overrides: "),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"budget": {"epochs": 4}}, r"budget\.epochs: 0 -> 4"),
        ({"validation_fraction": 0.4}, "validation_fraction: 0.2 -> 0.4"),
    ],
)
def test_changed_settings_are_refused_by_name(folder: SweepDir, changes: dict[str, Any], named: str) -> None:
    before = folder.settings_file.read_bytes()
    with pytest.raises(UserError, match=f"{folder.path}.*{named}.*--out"):
        go_on(folder, **changes)
    assert folder.settings_file.read_bytes() == before


@pytest.mark.parametrize(
    "setting", ["clip.frames: 16", "train.max_validation_videos: 64", "evaluate.max_windows_per_video: 7"]
)
def test_a_changed_recipe_is_refused_with_the_difference(folder: SweepDir, tmp_path: Path, setting: str) -> None:
    key, _, value = setting.partition(": ")
    recipe = tmp_path / "changed.yaml"
    recipe.write_text(dump_config(load_config("demo", [f"{key}={value}"])))
    with pytest.raises(UserError, match=rf"{key}: \d+ -> {value}"):
        go_on(folder, recipe=str(recipe))


@pytest.mark.parametrize(
    ("rows", "prepare"),
    [
        ([*VIDEOS, video(9)], PrepareConfig(short_side=32)),
        ([{**VIDEOS[0], "label": "c"}, *VIDEOS[1:]], PrepareConfig(short_side=32)),
        (VIDEOS, PrepareConfig(short_side=64)),
    ],
)
def test_other_videos_are_refused(folder: SweepDir, tmp_path: Path, rows: list[Any], prepare: PrepareConfig) -> None:
    plan, other = sweep_of(), store_of(tmp_path / "other", rows, settings=prepare)
    with pytest.raises(UserError, match=f"8 of fingerprint .*{tmp_path / 'store'} -> {len(rows)} of .*{other}.*--out"):
        folder.open(plan.settings, plan.base, other)


def test_a_sweep_without_an_inputs_record_does_not_resume(folder: SweepDir) -> None:
    known = json.loads(folder.settings_file.read_text())
    folder.settings_file.write_text(json.dumps({name: value for name, value in known.items() if name != "videos"}))
    with pytest.raises(UserError, match=r"sweep\.json.*--out"):
        go_on(folder)


def test_each_best_trial_has_its_own_final_runs(folder: SweepDir) -> None:
    """More trials may find a better one; what the runs of the one before scored is not its score."""
    plan = sweep_of(final_eval={"num_seeds": 2})

    def judged_by(number: int) -> list[Path]:
        values = {"stage2.sinkhorn_epsilon": 0.1 + number / 100, "stage2.num_prototypes": 8, "stage2.queue_size": 0}
        runs, made = FinalRuns(plan, folder, trial_of(number, values=values)), []
        while following := runs.next():
            made.append(following[1])
            rows = [{"key": "rgb-stage2-1", "recall": {"1": number / 10}}]
            (following[1] / "run" / "evaluation").mkdir(parents=True)
            (following[1] / "run" / "evaluation" / RESULT_FILE).write_text(json.dumps({"rows": rows}))
        return made

    assert [len(judged_by(number)) for number in (3, 3, 5)] == [4, 0, 2]
