"""The command ``submit``."""

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
        "Sends the settings as they are here to the cluster's job server, and shows what the job prints. It goes on\n"
        "without this machine: give the same again, or --follow, to look at it again. Paths are the cluster's.",
        "vicc-ray submit ucf101-s3d --dashboard-address http://127.0.0.1:8265 --store /shared/ucf101 --out /shared/run",
        "vicc-ray submit demo --dashboard-address http://127.0.0.1:8265 --videos /shared/videos --out /shared/demo",
        "vicc-ray submit sweeps/quick.yaml --dashboard-address http://127.0.0.1:8265 --store /shared/store --out "
        "/shared/sweep",
        "vicc-ray submit --follow vicc-ray-20260101-120000-1a2b --dashboard-address http://127.0.0.1:8265",
    )
    command.add_argument(
        "what", nargs="?", metavar="RECIPE|SWEEP", help="a recipe, or the YAML file of one or of a sweep"
    )
    command.add_argument(
        "--dashboard-address", dest="server", required=True, metavar="URL", help="the job server: http://HOST:PORT"
    )
    command.add_argument("--out", metavar="DIR", help="folder for everything that is made, which all machines see")
    command.add_argument("--store", metavar="STORE", help="prepared clips, to train on: pretrain, or sweep")
    command.add_argument(
        "--videos", metavar="DIR", help="videos, for the whole job: prepare, pretrain, evaluate, report"
    )
    add_labels(command)
    add_set(command)
    command.add_argument("--resume", action="store_true", help="go on with what a job that has ended left in OUT")
    command.add_argument("--no-wait", action="store_true", help="do not follow it")
    job = command.add_mutually_exclusive_group()
    job.add_argument("--follow", metavar="JOB", help="look at a job that was begun before")
    job.add_argument("--stop", metavar="JOB", help="end a job; what it has trained is kept")


def _submit(options: argparse.Namespace) -> None:
    missing = [name for name in ("aiohttp", "requests") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"vicc-ray submit needs {', '.join(missing)}: pip install 'vicc-ray[cluster]'")
    use_token()
    if options.stop or options.follow:
        _with_known(options)
        return
    if not options.what or not options.out:
        raise UserError("submit: give RECIPE or SWEEP and --out; or --follow JOB, or --stop JOB")
    job = package(options.what, options.out, options.store, options.videos, options.labels, options.overrides)
    from vicc_ray.pipelines.submit import JobServer

    server = JobServer(options.server)
    id = server.submit(job, options.resume)
    print_line(f"job {id} on {server.address}: vicc-ray {' '.join(job.arguments)}", sys.stderr)
    if not options.no_wait:
        _follow(server, id)


def _with_known(options: argparse.Namespace) -> None:
    from vicc_ray.pipelines.submit import JobServer

    server = JobServer(options.server)
    if options.stop:
        server.stop(options.stop)
    _follow(server, options.follow or options.stop)


def print_log(text: str) -> None:
    """What a job has printed: its lines as they are, without their colors, and with nothing that a terminal obeys."""
    print(visible_lines(COLORS.sub("", text.replace("\r\n", "\n"))), end="", flush=True)


def _follow(server: JobServer, id: str) -> None:
    from vicc_ray.pipelines.submit import succeeded

    try:
        job = server.follow(id, print_log)
    except KeyboardInterrupt:
        print_line("", sys.stderr)
        call = f"vicc-ray submit --dashboard-address {server.address} --follow {id}"
        print_line(f"not followed any more, the job goes on: {call} (or --stop)", sys.stderr)
        raise
    if not succeeded(job):
        raise UserError(server.why(job))
