"""Command ``doctor``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_address, add_command, add_set, add_store
from vicc_ray.cli.path_types import output_path
from vicc_ray.config.loader import load_config

if TYPE_CHECKING:
    from vicc_ray.doctor.checks import Check

COLORS = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


def add_doctor(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "doctor",
        _doctor,
        "whether this machine, or every machine of a cluster, is fit for a run",
        "Checks versions, the token, GPUs and drivers, memory, disks, clocks, the needs of RECIPE, and whether all\n"
        "machines see the same folder and store. Prints one line per check, ok, warn or FAIL, and advice.\n"
        "For a cluster, run it on the head: ray exec CLUSTER.yaml 'vicc-ray doctor --address auto'.\n"
        "Exit code 1 if a check fails.",
        "vicc-ray doctor",
        "vicc-ray doctor ucf101-s3d --store demo/store --out demo",
        "vicc-ray doctor ucf101-s3d --address auto --out /shared",
    )
    command.add_argument("recipe", nargs="?", default="demo", metavar="RECIPE", help="recipe to run (default demo)")
    add_address(command)
    add_store(command, required=False)
    command.add_argument("--out", type=output_path, metavar="DIR", help="folder for runs, shared by all machines")
    add_set(command)


def _doctor(options: argparse.Namespace) -> None:
    config = load_config(options.recipe, options.overrides)
    from vicc_ray.pipelines.doctor import doctor

    failed = 0
    for check in doctor(config, options.out and str(options.out), options.store):
        print_check(check)
        failed += check.mark == "FAIL"
    if failed:
        raise SystemExit(1)


def print_check(check: Check) -> None:
    """Print one check as it ends: the mark in color, the subject and the finding; advice on a line of its own."""
    from rich.text import Text

    from vicc_ray.cli.tables import Column, print_table

    rows: list[tuple[str | Text, ...]] = [(Text(check.mark, COLORS[check.mark]), check.subject, check.finding)]
    if check.advice:
        rows.append(("", "", f"-> {check.advice}"))
    print_table([Column("", "left", 5), Column("", "left", 9), Column("", "left")], rows, gap=1)
