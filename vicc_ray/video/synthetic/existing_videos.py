"""What a folder of synthetic videos was made with: videos that are there are kept only where they would be the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_json

RECORD = ".make-videos.json"
"""Hidden, so that it is no input where the folder is prepared."""
Settings = Mapping[str, float]
"""All that a video of a given name depends on."""


def check_existing_videos(out: Path, settings: Settings, files: Sequence[str], made: Sequence[str]) -> None:
    """See that ``out`` holds nothing, or what these settings make of ``files``; then write them down.

    Args:
        files: names of all files that this call is for.
        made: names of files that are there, and that a call may have made.

    Raises:
        UserError: it is no folder, or holds other files, or files of other settings.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; give a folder to write videos to")
    instead = f"give another folder in the place of {out}, or remove it first"
    if not (out / RECORD).exists():
        if made:
            raise UserError(f"{made[0]} is in {out}, and it is not known with which --seed it was made; {instead}")
        atomic_write(out / RECORD, json.dumps(dict(settings)))
        return
    before = read_json(out / RECORD, "what videos were made with", instead)
    for name, value in settings.items():
        if (was := before.get(name)) != value:
            raise UserError(f"{name}: {value} given, but the videos in {out} were made with {name} {was}; {instead}")
    more = sorted(set(made) - set(files))
    if more:
        raise UserError(
            f"{out} holds {len(more)} videos more than --classes, --train and --test ask for, {more[0]} for one; "
            f"ask for as many as there are, or {instead}"
        )
