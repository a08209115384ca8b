"""The command ``sweep``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_ray, add_store
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.utils.standard_streams import say

if TYPE_CHECKING:
    from vicc_ray.sweep.results import SweepSummary


def add_sweep(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "sweep",
        _sweep,
        "search settings by held-out retrieval: many pretrainings that share their stage 1",
        "SWEEP is a YAML file: what is searched, on which recipe, how long (sweeps/*.yaml show all of it). OUT holds\n"
        "the study (optuna-dashboard OUT/study.journal), trials.parquet, sweep.html, and best.yaml: a recipe for\n"
        "`vicc-ray pretrain`. Given again, it goes on where it was.",
        "vicc-ray sweep sweeps/quick.yaml --store demo/store --out demo/sweep",
        "vicc-ray sweep sweeps/prototypes.yaml --address auto --store /shared/ucf101 --out /shared/sweep",
    )
    command.add_argument("sweep", type=input_path, metavar="SWEEP", help="the sweep's YAML file")
    add_store(command)
    command.add_argument(
        "--out", type=output_path, required=True, metavar="DIR", help="folder for everything that is made"
    )
    add_ray(command)


def _sweep(options: argparse.Namespace) -> None:
    from vicc_ray.sweep.config import load_sweep

    settings = load_sweep(options.sweep)
    from vicc_ray.pipelines.sweep.run import run_sweep

    _tell(run_sweep(settings, options.store, options.out, progress=not options.quiet), options.out)


def _tell(summary: SweepSummary, out: Path) -> None:
    from vicc_ray.sweep.live_table import setting_in_words
    from vicc_ray.sweep.sweep_dir import SweepDir

    folder = SweepDir(out)
    ended = sum(trial.state != "running" for trial in summary.trials)
    if summary.best is None:
        say(f"{ended} of {summary.total} trials have ended, none of them complete; the same command goes on")
        return
    best = summary.best
    say(f"best of {ended} trials: {best.number}, R@1 {100 * (best.recall_at_1 or 0):.1f} %: {setting_in_words(best)}")
    for run in summary.final_eval:
        spread = f" +- {100 * run.deviation:.1f}" if len(run.recall_at_1) > 1 else ""
        seeds = len(run.recall_at_1)
        say(f"on the test videos, {run.setting} setting: R@1 {100 * run.mean:.1f}{spread} % (fresh seeds: {seeds})")
    say(f"recipe: {folder.best_file}")
    say(f"all trials: {folder.table_file}; optuna-dashboard {folder.study_file}")
