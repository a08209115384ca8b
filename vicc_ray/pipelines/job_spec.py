"""A pretraining or a sweep as it is sent to a cluster: a command of ``vicc-ray``, and its settings as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.config.loader import dump_config, load_config, recipe_names
from vicc_ray.config.yaml import format_document, read_yaml
from vicc_ray.errors import UserError
from vicc_ray.utils.local_paths import WRITTEN_HERE, is_address, local_path, without_secrets

RECIPE_FILE, SWEEP_FILE = "recipe.yaml", "sweep.yaml"


@dataclass(frozen=True)
class PackagedJob:
    """What a cluster is given.

    Attributes:
        arguments: of ``vicc-ray``, to be called in the folder of the files.
        files: content by name: settings as resolved here, so that a file that changes later, or is not on the cluster,
            does not matter.
        out: the folder that the command writes to.
    """

    arguments: tuple[str, ...]
    files: dict[str, str]
    out: str


def package(
    what: str,
    out: str,
    store: str | None = None,
    videos: str | None = None,
    labels: str | None = None,
    overrides: Sequence[str] = (),
) -> PackagedJob:
    """The job for a recipe or a sweep.

    Args:
        what: name of a recipe, or path of a recipe's or a sweep's YAML file.
        out: absolute path on the cluster: a pretraining's run, the whole job's folder, or the sweep's.
        store: prepared clips to train on; then the job is ``pretrain`` or ``sweep``.
        videos: videos to begin with, and their ``labels``; then it is ``run``.

    Raises:
        UserError: settings cannot be used, or the arguments do not fit together.
    """
    from vicc_ray.datasets.resolve import is_no_labels

    if is_address(out):
        raise UserError(f"--out: {without_secrets(out)} is an address; {WRITTEN_HERE}")
    listed = None if is_no_labels(labels) else labels
    for name, place in (("--out", out), ("--store", store), ("--videos", videos), ("--labels", listed)):
        if place is not None:
            _check_place(name, place)
    if (store is None) == (videos is None):
        given = "both" if store else "neither"
        raise UserError(
            f"--store and --videos: {given} given; give --store for prepared clips, or --videos for the whole job"
        )
    if store and labels:
        raise UserError(
            f"--labels: {without_secrets(labels)} given with --store, whose videos have the labels that they were "
            "prepared with; leave it out, or give --videos in the place of --store"
        )
    if (sweep := _sweep(what)) is not None:
        if store is None or overrides:
            raise UserError(
                f"{what} is a sweep: give it --store, and put what --set or --videos would change into its file"
            )
        _check_sweep(local_path(what))
        return PackagedJob(("sweep", SWEEP_FILE, "--store", store, "--out", out), _sweep_files(sweep), out)
    files = {RECIPE_FILE: dump_config(load_config(what, overrides))}
    if store is not None:
        return PackagedJob(("pretrain", RECIPE_FILE, "--store", store, "--run", out), files, out)
    labelled = ("--labels", labels) if labels else ()
    return PackagedJob(("run", RECIPE_FILE, "--videos", str(videos), *labelled, "--out", out), files, out)


def _check_place(name: str, place: str) -> None:
    if is_address(place):
        return
    try:
        there = not place.startswith("~") and local_path(place).is_absolute()
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if not there:
        raise UserError(
            f"{name}: {place!r} given, a path relative to this machine's folder; the cluster's machines need an "
            "absolute path that all of them see, such as /shared/ucf101"
        )


def _sweep(what: str) -> dict[str, Any] | None:
    """The content of a sweep's file; None of anything else."""
    path = local_path(what)
    if what in recipe_names() or not path.is_file():
        return None
    content = read_yaml(path, what)
    return content if isinstance(content, dict) and "search" in content else None


def _check_sweep(path: Path) -> None:
    """Raise UserError here, and not on the cluster, where a setting of a sweep cannot be."""
    from vicc_ray.sweep.config import load_sweep
    from vicc_ray.sweep.trial_config import Sweep

    Sweep(load_sweep(path))


def _sweep_files(content: dict[str, Any]) -> dict[str, str]:
    """The sweep as given, and its recipe in full."""
    recipe = dump_config(load_config(str(content.get("recipe", "demo"))))
    sweep = format_document({**content, "recipe": RECIPE_FILE})
    return {SWEEP_FILE: sweep, RECIPE_FILE: recipe}
