"""The files that a sweep writes for its user: trials.parquet, sweep-summary.json, and best.yaml."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.config.loader import dump_config
from vicc_ray.config.yaml import format_value
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.results import FinalEval, SweepSummary, best_trial
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.sweep.trial import Trial
from vicc_ray.sweep.trial_config import Sweep
from vicc_ray.utils.fs import atomic_path, atomic_write

SCORES = pa.list_(
    pa.struct(
        [
            ("epoch", pa.int64()),
            *((name, pa.float64()) for name in ("recall_at_1", "low", "high", "seconds")),
        ]
    )
)
TRIAL_COLUMNS = [
    ("number", pa.int64()),
    ("state", pa.string()),
    ("reason", pa.string()),
    ("recall_at_1", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("epochs", pa.float64()),
    ("seconds", pa.float64()),
    ("warnings", pa.list_(pa.string())),
    ("scores", SCORES),
]


def summarize(
    plan: Sweep, study: SweepStudy, folder: SweepDir, trials: list[Trial], total: int, final_eval: list[FinalEval]
) -> SweepSummary:
    """The results of a sweep so far; the importances come from the study."""
    settings = plan.settings
    return SweepSummary(
        name=settings.name,
        recipe=settings.recipe,
        searched=[parameter.key for parameter in plan.space.parameters],
        total=total,
        trials=trials,
        best=best_trial(trials),
        importances=study.importances(),
        final_eval=final_eval,
        stage1_seconds=folder.stage1_seconds(),
    )


def write_outputs(plan: Sweep, summary: SweepSummary, folder: SweepDir) -> None:
    """Write the results of a sweep into its folder."""
    write_table(summary.trials, summary.searched, folder.table_file)
    atomic_write(folder.summary_file, json.dumps(summary.as_json(), indent=1) + "\n")
    if summary.best is not None:
        atomic_write(folder.best_file, best_recipe(plan, summary.best))


def best_recipe(plan: Sweep, best: Trial) -> str:
    """YAML of the best trial's settings: a recipe for `vicc-ray pretrain` that reproduces the trial's R@1."""
    config = plan.trial(best.values, f"{plan.settings.name}-best")
    config = config.model_copy(update={"ray": plan.base.ray})
    share, score = plan.settings.validation_fraction, 100 * (best.recall_at_1 or 0.0)
    head = (
        f"# The best setting of the sweep {plan.settings.name}: trial {best.number}, R@1 {score:.1f} %\n"
        f"# on its validation videos. train.validation_fraction {share:g} excludes these from training,\n"
        "# which reproduces that R@1. Set it to 0 to train on all training videos.\n"
    )
    return head + dump_config(config)


def write_table(trials: Sequence[Trial], settings: Sequence[str], file: Path) -> None:
    """Write a Parquet table with a row per trial, for other tools.

    A row has the trial's outcome, its scores by epoch, and a column for each of ``settings``: null if its condition did
    not hold, numbers as numbers, everything else as YAML text.
    """
    rows = [_trial_columns(trial) for trial in trials]
    arrays = [pa.array([row[name] for row in rows], type_) for name, type_ in TRIAL_COLUMNS]
    table = pa.table(arrays, names=[name for name, _ in TRIAL_COLUMNS])
    for key in settings:
        table = table.append_column(key, _setting_column([trial.values.get(key) for trial in trials]))
    with atomic_path(file) as partial:
        pq.write_table(table, partial)


def _trial_columns(trial: Trial) -> dict[str, object]:
    low, high = trial.interval or (None, None)
    return {
        **{"number": trial.number, "state": trial.state, "reason": trial.reason, "recall_at_1": trial.recall_at_1},
        **{"low": low, "high": high, "epochs": trial.cost.epochs, "seconds": trial.cost.seconds},
        **{"warnings": trial.warnings, "scores": [asdict(score) for score in trial.curve]},
    }


def _setting_column(values: list[object]) -> pa.Array:
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        integers = all(value is None or isinstance(value, int) for value in values)
        return pa.array(values, pa.int64() if integers else pa.float64())
    return pa.array([None if value is None else format_value(value) for value in values], pa.string())
