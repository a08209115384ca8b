"""Commands ``run`` and ``config``."""

from __future__ import annotations

import argparse
from typing import Any

from vicc_ray.cli.evaluate import print_retrieval
from vicc_ray.cli.options import add_command, add_ray, add_recipe, add_videos, load_recipe
from vicc_ray.cli.path_types import output_path
from vicc_ray.config.loader import dump_config
from vicc_ray.utils.standard_streams import print_line


def add_run(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "run",
        _run,
        "the whole pipeline: prepare, pretrain, evaluate, report",
        "OUT/store holds the prepared clips, OUT/run the run, OUT/run/report/report.html the report.",
        "vicc-ray run demo --videos videos --out demo",
        "vicc-ray run ucf101-s3d --videos UCF-101 --labels ucfTrainTestlist --out ucf101",
    )
    add_recipe(command)
    add_videos(command)
    command.add_argument("--out", type=output_path, required=True, metavar="DIR", help="output folder")
    add_ray(command)


def add_config(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "config",
        _config,
        "print a recipe in full, with the meaning and the allowed values of every setting",
        "The output is itself a recipe: save it, edit it, and give its path as RECIPE.",
        "vicc-ray config demo",
        "vicc-ray config ucf101-s3d --set train.global_batch_size=64 --no-comments > mine.yaml",
    )
    add_recipe(command)
    command.add_argument("--no-comments", action="store_true", help="settings without their documentation")


def _run(options: argparse.Namespace) -> None:
    config = load_recipe(options)
    from vicc_ray.evaluation.results_io import read_result
    from vicc_ray.pipelines.end_to_end import run_end_to_end

    page = run_end_to_end(config, options.videos, options.out, options.labels, progress=not options.quiet)
    table = read_result(options.out / "run" / "evaluation")
    if table is not None:
        print_retrieval(table)
    print_line(f"report: {page}")


def _config(options: argparse.Namespace) -> None:
    print(dump_config(load_recipe(options), docs=not options.no_comments), end="")
