"""The command ``doctor``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_address, add_command, add_set, add_store
from vicc_ray.cli.path_types import output_path
from vicc_ray.config.loader import load_config
from vicc_ray.utils.standard_streams import say

if TYPE_CHECKING:
    from vicc_ray.doctor.checks import Check


def add_doctor(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "doctor",
        _doctor,
        "whether this machine, or every machine of a cluster, is fit for a run",
        "Looks at versions, the token, GPUs and drivers, memory, disks, clocks, what RECIPE needs, and whether all\n"
        "machines see the same folder and store. A line a check: ok, warn or FAIL, and what to do.\n"
        "For a cluster, run it on the head: ray exec CLUSTER.yaml 'vicc-ray doctor --address auto'.\n"
        "Ends with exit code 1 if anything is marked FAIL.",
        "vicc-ray doctor",
        "vicc-ray doctor ucf101-s3d --store demo/store --out demo",
        "vicc-ray doctor ucf101-s3d --address auto --out /shared",
    )
    command.add_argument("recipe", nargs="?", default="demo", metavar="RECIPE", help="what is to be run (default demo)")
    add_address(command)
    add_store(command, required=False)
    command.add_argument(
        "--out", type=output_path, metavar="DIR", help="folder for runs, which all machines must share"
    )
    add_set(command)


def _doctor(options: argparse.Namespace) -> None:
    config = load_config(options.recipe, options.overrides)
    from vicc_ray.pipelines.doctor import doctor

    failed = 0
    for check in doctor(config, options.out and str(options.out), options.store):
        _tell(check)
        failed += check.mark == "FAIL"
    if failed:
        raise SystemExit(1)


def _tell(check: Check) -> None:
    say(f"{check.mark:5} {check.what:9} {check.found}", flush=True)
    if check.advice:
        say(f"{'':15} -> {check.advice}", flush=True)
