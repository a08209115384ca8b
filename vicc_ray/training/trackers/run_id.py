"""What a tracker calls a run, kept in the run's folder, so that a run that goes on is not a second one there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_bounded

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What trackers make names of; they become parts of paths and of addresses."""


def persistent_run_id(run: Path, tracker: str, new: Callable[[], str]) -> str:
    """The name in RUN/trackers/<tracker>; ``new`` gives it where there is none yet."""
    file = run / "trackers" / tracker
    if not file.exists():
        atomic_write(file, new())
    try:
        identity = read_bounded(file, 64).decode()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: no name of a run ({error}); remove it, and {tracker} tells of a new one") from None
    if not _NAME.fullmatch(identity):
        raise UserError(f"{file}: {identity!r} is no name of a run; remove it, and {tracker} tells of a new one")
    return identity
