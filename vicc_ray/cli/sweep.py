"""Command ``sweep``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_ray, add_store
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.utils.standard_streams import print_line

if TYPE_CHECKING:
    from vicc_ray.sweep.results import SweepSummary


def add_sweep(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "sweep",
        _sweep,
        "hyperparameter search by validation retrieval; all trials share one stage 1",
        "SWEEP is a YAML file with the search space, the recipe and the budget; see sweeps/*.yaml. OUT has the Optuna\n"
        "study (optuna-dashboard OUT/study.journal), trials.parquet, sweep.html, and best.yaml: a recipe for\n"
        "`vicc-ray pretrain`. The same command resumes.",
        "vicc-ray sweep sweeps/quick.yaml --store demo/store --out demo/sweep",
        "vicc-ray sweep sweeps/prototypes.yaml --address auto --store /shared/ucf101 --out /shared/sweep",
    )
    command.add_argument("sweep", type=input_path, metavar="SWEEP", help="YAML file of the sweep")
    add_store(command)
    command.add_argument("--out", type=output_path, required=True, metavar="DIR", help="output folder")
    add_ray(command)


def _sweep(options: argparse.Namespace) -> None:
    from vicc_ray.sweep.config import load_sweep

    settings = load_sweep(options.sweep)
    from vicc_ray.pipelines.sweep.run import run_sweep

    print_summary(run_sweep(settings, options.store, options.out, progress=not options.quiet), options.out)


def print_summary(summary: SweepSummary, out: Path) -> None:
    """Print the best trial, the final evaluation on the test videos, and the files."""
    from vicc_ray.cli.tables import Column, print_table
    from vicc_ray.sweep.live_table import setting_in_words
    from vicc_ray.sweep.sweep_dir import SweepDir

    folder = SweepDir(out)
    ended = sum(trial.state != "running" for trial in summary.trials)
    if summary.best is None:
        print_line(
            f"{ended} of {summary.total} trials have ended, none of them completed; run the same command to resume"
        )
        return
    best = summary.best
    print_line(
        f"best of {ended} trials: {best.number}, R@1 {100 * (best.recall_at_1 or 0):.1f} %: {setting_in_words(best)}"
    )
    rows = []
    for run in summary.final_eval:
        spread = f" +- {100 * run.deviation:.1f}" if len(run.recall_at_1) > 1 else ""
        rows.append((run.setting, f"{100 * run.mean:.1f}{spread}", str(len(run.recall_at_1))))
    if rows:
        print_table([Column("setting", "left"), Column("R@1 %, test videos"), Column("seeds")], rows)
    print_line(f"recipe: {folder.best_file}")
    print_line(f"all trials: {folder.table_file}; optuna-dashboard {folder.study_file}")
