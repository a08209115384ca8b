"""Entry point of the ``vicc-ray`` command: parse, run one command, turn expected errors into exit codes."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence

from vicc_ray import __version__
from vicc_ray.cli.classify import add_classify
from vicc_ray.cli.data import add_make_videos, add_prepare
from vicc_ray.cli.doctor import add_doctor
from vicc_ray.cli.evaluate import add_evaluate, add_export, add_report
from vicc_ray.cli.options import Command, Parser
from vicc_ray.cli.run import add_config, add_run
from vicc_ray.cli.search import add_search
from vicc_ray.cli.submit import add_submit
from vicc_ray.cli.sweep import add_sweep
from vicc_ray.cli.train import add_import_weights, add_pretrain
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import join_cluster
from vicc_ray.utils.visible_text import visible_message

FULL = {errno.ENOSPC, errno.EDQUOT}
MACHINE_PROBLEMS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, *FULL}
OVERVIEW = """\
Learn a motion-aware RGB video encoder from a folder of videos, without labels.

Two networks, one for RGB and one for optical flow, predict each other's prototype assignments; one is optimized while
the other is frozen. Inference needs RGB only. The whole pipeline on synthetic videos takes minutes on two CPU cores:

  vicc-ray make-videos videos
  vicc-ray run demo --videos videos --out demo

With your own videos, in one folder per class (or with --labels, or without labels):

  vicc-ray run demo --videos my-videos --out my-run

Every long command resumes when it is given again.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a user error, 1 for a closed output pipe."""
    options = build_parser().parse_args(arguments)
    command: Command = options.command
    try:
        if hasattr(options, "address"):
            join_cluster(options.address)
        command(options)
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.errno not in MACHINE_PROBLEMS:
            raise
        advice = "free some space" if error.errno in FULL else "ask for permission to write there"
        return _fail(f"{error.filename or 'output'}: {error.strerror}; choose another folder or {advice}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Parser of all commands; the function of the chosen one is in ``options.command``."""
    parser = Parser(prog="vicc-ray", description=OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"vicc-ray {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    workflow = (add_run, add_make_videos, add_config, add_prepare, add_pretrain, add_evaluate, add_report)
    networks = (add_classify, add_export, add_import_weights)
    for add in (*workflow, *networks, add_sweep, add_search, add_submit, add_doctor):
        add(commands)
    return parser


def _fail(message: str) -> int:
    print(f"error: {visible_message(message)}", file=sys.stderr)
    return 2
