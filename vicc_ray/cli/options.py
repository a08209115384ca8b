"""What verbs of the command line have in common: how they are declared, and arguments of several of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from vicc_ray.cli.path_types import output_path, path_or_address
from vicc_ray.config.loader import recipe_names
from vicc_ray.utils.visible_text import visible

Verb = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Of the command and its verbs; what it quotes, which a shell may have made of names of files, is visible."""

    def error(self, message: str) -> NoReturn:
        """See :meth:`argparse.ArgumentParser.error`."""
        super().error(visible(message))


def add_verb(verbs: Any, name: str, run: Verb, summary: str, detail: str, *examples: str) -> argparse.ArgumentParser:
    """Declare a verb that calls ``run``; the parser to add its arguments to."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{detail}",
        epilog="\n".join([f"example{'s' if len(examples) > 1 else ''}:", *(f"  {line}" for line in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(verb=run)
    return verb


def add_recipe(verb: argparse.ArgumentParser) -> None:
    """RECIPE, and settings to change in it."""
    names = ", ".join(recipe_names())
    verb.add_argument("recipe", metavar="RECIPE", help=f"{names}, or the path of a YAML file")
    add_set(verb)


def add_set(verb: argparse.ArgumentParser, which: str = "; see `vicc-ray config RECIPE` for all of them") -> None:
    """Settings to change; ``which``: how the help goes on."""
    verb.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help=f"change a setting, as often as needed{which}",
    )


def add_videos(verb: argparse.ArgumentParser) -> None:
    """Where the videos are, and what is known of them."""
    verb.add_argument(
        "--videos",
        type=path_or_address,
        required=True,
        metavar="DIR",
        help="folder of videos: here, or an address such as s3://bucket/prefix or gs://bucket/prefix",
    )
    add_labels(verb)


def add_labels(verb: argparse.ArgumentParser) -> None:
    """What is known of the videos."""
    verb.add_argument(
        "--labels",
        type=path_or_address,
        metavar="FILE|DIR|none",
        help="a manifest (.csv, .tsv, .jsonl or .parquet: path, and any of label, source, split), or the lists of "
        "UCF101, HMDB51 or Kinetics as published; none: no labels, whatever the folders are; without: labels.csv, "
        ".jsonl or .parquet beside the videos, or one folder a class",
    )


def add_store(verb: argparse.ArgumentParser, required: bool = True, written: bool = False) -> None:
    """The clip store, to be read or written."""
    verb.add_argument(
        "--store",
        type=output_path if written else path_or_address,
        required=required,
        metavar="STORE",
        help="clip store of `vicc-ray prepare`: its folder or, to read it, its address in a bucket",
    )


def add_run_folder(verb: argparse.ArgumentParser) -> None:
    """The folder of a run."""
    verb.add_argument("--run", type=output_path, required=True, metavar="RUN", help="folder of the run")


def add_ray(verb: argparse.ArgumentParser) -> None:
    """Where Ray works, and whether progress is shown."""
    add_address(verb)
    add_quiet(verb)


def add_address(verb: argparse.ArgumentParser) -> None:
    """Where Ray works."""
    verb.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="work on a running Ray cluster: auto on one of its machines, or the address of its head; without: "
        "RAY_ADDRESS, or Ray is started here",
    )


def add_quiet(verb: argparse.ArgumentParser) -> None:
    """Whether progress is shown."""
    verb.add_argument("-q", "--quiet", action="store_true", help="no progress display")
