"""Declaration of commands, and arguments that several of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from vicc_ray.cli.path_types import output_path, path_or_address
from vicc_ray.config.loader import load_config, recipe_names
from vicc_ray.utils.visible_text import visible

if TYPE_CHECKING:
    from vicc_ray.config import Config

Command = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors escape control characters: a shell may have expanded them from file names."""

    def error(self, message: str) -> NoReturn:
        """See :meth:`argparse.ArgumentParser.error`."""
        super().error(visible(message))


def add_command(
    commands: Any, name: str, run: Command, summary: str, detail: str, *examples: str
) -> argparse.ArgumentParser:
    """Declare a command that calls ``run``, and return its parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{detail}",
        epilog="\n".join([f"example{'s' if len(examples) > 1 else ''}:", *(f"  {line}" for line in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=run)
    return command


def add_recipe(command: argparse.ArgumentParser) -> None:
    """Add RECIPE and ``--set``."""
    names = ", ".join(recipe_names())
    command.add_argument("recipe", metavar="RECIPE", help=f"{names}, or the path of a YAML file")
    add_set(command)


def load_recipe(options: argparse.Namespace) -> Config:
    """Settings of RECIPE with the overrides of ``--set``."""
    return load_config(options.recipe, options.overrides)


def add_set(command: argparse.ArgumentParser, which: str = "; see `vicc-ray config RECIPE` for all of them") -> None:
    """Add ``--set``; its help text ends with ``which``."""
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help=f"override a setting; repeatable{which}",
    )


def add_videos(command: argparse.ArgumentParser) -> None:
    """Add ``--videos`` and ``--labels``."""
    command.add_argument(
        "--videos",
        type=path_or_address,
        required=True,
        metavar="DIR",
        help="folder of videos, local or in object storage (s3://bucket/prefix, gs://bucket/prefix)",
    )
    add_labels(command)


def add_labels(command: argparse.ArgumentParser) -> None:
    """Add ``--labels``."""
    command.add_argument(
        "--labels",
        type=path_or_address,
        metavar="FILE|DIR|none",
        help="a manifest (.csv, .tsv, .jsonl or .parquet with path, and optionally label, source, split), or the "
        "published lists of UCF101, HMDB51 or Kinetics; none: ignore labels. Default: labels.csv, .jsonl or .parquet "
        "in the video folder, otherwise one class per folder",
    )


def add_store(command: argparse.ArgumentParser, required: bool = True, written: bool = False) -> None:
    """Add ``--store``, read or written."""
    command.add_argument(
        "--store",
        type=output_path if written else path_or_address,
        required=required,
        metavar="STORE",
        help="clip store of `vicc-ray prepare`: a folder or, for reading, an address in object storage",
    )


def add_run_folder(command: argparse.ArgumentParser) -> None:
    """Add ``--run``."""
    command.add_argument("--run", type=output_path, required=True, metavar="RUN", help="run directory")


def add_ray(command: argparse.ArgumentParser) -> None:
    """Add ``--address`` and ``--quiet``."""
    add_address(command)
    add_quiet(command)


def add_address(command: argparse.ArgumentParser) -> None:
    """Add ``--address``."""
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster to connect to: auto on one of its nodes, or the address of its head. Default: RAY_ADDRESS, "
        "else a local Ray session",
    )


def add_quiet(command: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    command.add_argument("-q", "--quiet", action="store_true", help="no progress display")
