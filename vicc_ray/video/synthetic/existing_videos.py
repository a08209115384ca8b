"""Record of the settings of a folder of synthetic videos, so that existing videos are kept only if they match."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_json

RECORD = ".make-videos.json"
"""A hidden file, so that ``prepare`` ignores it."""
Settings = Mapping[str, float]
"""Everything that determines a video of a given name."""


def check_existing_videos(out: Path, settings: Settings, files: Sequence[str], existing: Sequence[str]) -> None:
    """Check that ``out`` is empty or has files of these settings only; record the settings.

    Args:
        files: names of all files to write.
        existing: names of existing files that look generated.

    Raises:
        UserError: ``out`` is not a folder, or has other files, or files of other settings.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the videos")
    instead = f"use another folder than {out}, or remove it first"
    if not (out / RECORD).exists():
        if existing:
            raise UserError(f"{out} contains {existing[0]}, but no record of the --seed it was made with; {instead}")
        atomic_write(out / RECORD, json.dumps(dict(settings)))
        return
    recorded = read_json(out / RECORD, "the settings of synthetic videos", instead)
    for name, value in settings.items():
        if (old := recorded.get(name)) != value:
            raise UserError(f"{name}: {value} given, but the videos in {out} were made with {name} {old}; {instead}")
    surplus = sorted(set(existing) - set(files))
    if surplus:
        raise UserError(
            f"{out} contains {len(surplus)} more videos than --classes, --train and --test request, for example "
            f"{surplus[0]}; request at least as many, or {instead}"
        )
