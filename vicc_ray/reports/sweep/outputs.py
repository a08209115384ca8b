"""Tells what a sweep has found: best.yaml, the table of trials, the page, and the figures as JSON."""

from __future__ import annotations

import json

from vicc_ray.config.loader import dump_config
from vicc_ray.reports.sweep import write_page
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.results import Judged, Summary, best_trial
from vicc_ray.sweep.sweep_dir import SweepFolder
from vicc_ray.sweep.table import write_table
from vicc_ray.sweep.trial import Trial
from vicc_ray.sweep.trial_config import Sweep
from vicc_ray.utils.fs import atomic_write


def summarise(
    plan: Sweep, study: SweepStudy, folder: SweepFolder, trials: list[Trial], total: int, judged: list[Judged]
) -> Summary:
    """What is known by now; the study tells how much each setting mattered."""
    settings = plan.settings
    return Summary(
        name=settings.name,
        recipe=settings.recipe,
        searched=[parameter.key for parameter in plan.space.parameters],
        total=total,
        trials=trials,
        best=best_trial(trials),
        importances=study.importances(),
        judged=judged,
        stage1_seconds=folder.stage1_seconds(),
    )


def write_summary(plan: Sweep, summary: Summary, folder: SweepFolder) -> None:
    """Write all that is told of a sweep into its folder."""
    write_table(summary.trials, summary.searched, folder.table_file)
    atomic_write(folder.summary_file, json.dumps(summary.as_json(), indent=1) + "\n")
    write_page(summary, folder.page_file)
    if summary.best is not None:
        atomic_write(folder.best_file, best_recipe(plan, summary.best))


def best_recipe(plan: Sweep, best: Trial) -> str:
    """YAML of the best trial's settings, which `vicc-ray pretrain` takes and which give the trial's R@1 again."""
    config = plan.trial(best.values, f"{plan.settings.name}-best")
    config = config.model_copy(update={"ray": plan.base.ray})
    share, score = plan.settings.validation_fraction, 100 * (best.recall_at_1 or 0.0)
    head = (
        f"# The best of the sweep {plan.settings.name}: trial {best.number}, R@1 {score:.1f} %\n"
        f"# of the videos that were held out for it. train.validation_fraction {share:g} leaves them out of "
        f"training, so\n"
        "# that the same R@1 comes out again; set it to 0 to train on all training videos.\n"
    )
    return head + dump_config(config)
