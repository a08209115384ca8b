"""Packaged job: a pretraining, a sweep or an end-to-end run as a ``vicc-ray`` command with its settings in files."""

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
    """Job to submit to a cluster.

    Attributes:
        arguments: arguments of ``vicc-ray``, which runs in the folder of the files.
        files: content by name. Settings are resolved at submission, so the cluster needs none of the local files.
        out: folder that the command writes to.
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
    """Package a recipe or a sweep as a job.

    Args:
        what: name of a recipe, or path of a recipe's or a sweep's YAML file.
        out: absolute path on the cluster: run folder of a pretraining, folder of an end-to-end run or of a sweep.
        store: clip store to train on; the job is then ``pretrain`` or ``sweep``.
        videos: videos to prepare, with their ``labels``; the job is then ``run``.

    Raises:
        UserError: invalid settings, or arguments that exclude each other.
    """
    from vicc_ray.datasets.resolve import is_no_labels

    if is_address(out):
        raise UserError(f"--out: {without_secrets(out)} is an address; {WRITTEN_HERE}")
    listed = None if is_no_labels(labels) else labels
    for name, place in (("--out", out), ("--store", store), ("--videos", videos), ("--labels", listed)):
        if place is not None:
            _check_place(name, place)
    if (store is None) == (videos is None):
        count = "both" if store else "neither"
        raise UserError(
            f"--store and --videos: {count} given; give --store for prepared clips, or --videos for an end-to-end run"
        )
    if store and labels:
        raise UserError(
            f"--labels: {without_secrets(labels)} given with --store, whose videos already have labels from their "
            "preparation; leave it out, or give --videos instead of --store"
        )
    if (sweep := _sweep(what)) is not None:
        if store is None or overrides:
            raise UserError(
                f"{what} is a sweep: give it --store, and put the changes of --set into its file (key overrides)"
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
        is_absolute = not place.startswith("~") and local_path(place).is_absolute()
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if not is_absolute:
        raise UserError(
            f"{name}: {place!r} given, a relative path; the nodes of the cluster need an absolute path that "
            "all of them see, such as /shared/ucf101"
        )


def _sweep(what: str) -> dict[str, Any] | None:
    """Content of a sweep file; None for any other file or a recipe name."""
    path = local_path(what)
    if what in recipe_names() or not path.is_file():
        return None
    content = read_yaml(path, what)
    return content if isinstance(content, dict) and "search_space" in content else None


def _check_sweep(path: Path) -> None:
    """Raise UserError for an invalid sweep here, before it reaches the cluster."""
    from vicc_ray.sweep.config import load_sweep
    from vicc_ray.sweep.trial_config import Sweep

    Sweep(load_sweep(path))


def _sweep_files(content: dict[str, Any]) -> dict[str, str]:
    """Sweep file, and its recipe with all settings resolved."""
    recipe = dump_config(load_config(str(content.get("recipe", "demo"))))
    sweep = format_document({**content, "recipe": RECIPE_FILE})
    return {SWEEP_FILE: sweep, RECIPE_FILE: recipe}
