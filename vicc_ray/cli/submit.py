"""Command ``submit``."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_labels, add_set
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import use_token
from vicc_ray.pipelines.job_spec import package
from vicc_ray.utils.standard_streams import print_line
from vicc_ray.utils.visible_text import visible_lines

COLORS = re.compile("\x1b\\[[0-9;]*m")

if TYPE_CHECKING:
    from vicc_ray.pipelines.submit import JobServer


def add_submit(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "submit",
        _submit,
        "run a pretraining or a sweep on a cluster, and follow it",
        "Sends the settings to the cluster's job server and prints the job's log. The job continues without this\n"
        "machine: run the same command again, or --follow, to see it again. Paths are those of the cluster.",
        "vicc-ray submit ucf101-s3d --dashboard-address http://127.0.0.1:8265 --store /shared/ucf101 --out /shared/run",
        "vicc-ray submit demo --dashboard-address http://127.0.0.1:8265 --videos /shared/videos --out /shared/demo",
        "vicc-ray submit sweeps/quick.yaml --dashboard-address http://127.0.0.1:8265 --store /shared/store --out "
        "/shared/sweep",
        "vicc-ray submit --follow vicc-ray-20260101-120000-1a2b --dashboard-address http://127.0.0.1:8265",
    )
    command.add_argument(
        "what", nargs="?", metavar="RECIPE|SWEEP", help="recipe, or the YAML file of a recipe or a sweep"
    )
    command.add_argument(
        "--dashboard-address", dest="server", required=True, metavar="URL", help="job server: http://HOST:PORT"
    )
    command.add_argument("--out", metavar="DIR", help="output folder, shared by all machines")
    command.add_argument("--store", metavar="STORE", help="clip store: the job is pretrain, or sweep")
    command.add_argument("--videos", metavar="DIR", help="videos: the job is prepare, pretrain, evaluate and report")
    add_labels(command)
    add_set(command)
    command.add_argument("--resume", action="store_true", help="continue from what an ended job left in OUT")
    command.add_argument("--no-wait", action="store_true", help="do not follow the job")
    job = command.add_mutually_exclusive_group()
    job.add_argument("--follow", metavar="JOB", help="follow a job that was submitted before")
    job.add_argument("--stop", metavar="JOB", help="stop a job; its checkpoints are kept")


def _submit(options: argparse.Namespace) -> None:
    use_token()
    if options.stop or options.follow:
        _follow_existing(options)
        return
    if not options.what or not options.out:
        raise UserError("submit: give RECIPE or SWEEP with --out, or --follow JOB, or --stop JOB")
    job = package(options.what, options.out, options.store, options.videos, options.labels, options.overrides)
    server = _job_server(options.server)
    id = server.submit(job, options.resume)
    print_line(f"job {id} on {server.address}: vicc-ray {' '.join(job.arguments)}", sys.stderr)
    if not options.no_wait:
        _follow(server, id)


def _follow_existing(options: argparse.Namespace) -> None:
    server = _job_server(options.server)
    if options.stop:
        server.stop(options.stop)
    _follow(server, options.follow or options.stop)


def _job_server(address: str) -> JobServer:
    """Client of a cluster's job server; the packages that it needs are an extra of this one."""
    missing = [name for name in ("aiohttp", "requests") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"vicc-ray submit needs {', '.join(missing)}: pip install 'vicc-ray[cluster]'")
    from vicc_ray.pipelines.submit import JobServer

    return JobServer(address)


def print_log(text: str) -> None:
    """Print a piece of the job's log without colors, with control characters escaped."""
    print(visible_lines(COLORS.sub("", text.replace("\r\n", "\n"))), end="", flush=True)


def _follow(server: JobServer, id: str) -> None:
    from vicc_ray.pipelines.submit import succeeded

    try:
        job = server.follow(id, print_log)
    except KeyboardInterrupt:
        print_line("", sys.stderr)
        call = f"vicc-ray submit --dashboard-address {server.address} --follow {id}"
        print_line(f"no longer following; the job continues: {call} (or --stop)", sys.stderr)
        raise
    if not succeeded(job):
        raise UserError(server.why(job))
