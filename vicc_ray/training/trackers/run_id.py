"""Persistent run id of a tracker, kept in the run's folder, so that a resumed run continues its tracker run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_bounded

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Characters of run ids, which become parts of paths and URLs."""


def persistent_run_id(run: Path, tracker: str, create: Callable[[], str]) -> str:
    """Run id in RUN/trackers/<tracker>; ``create`` makes a new one where there is none."""
    file = run / "trackers" / tracker
    if not file.exists():
        atomic_write(file, create())
    try:
        run_id = read_bounded(file, 64).decode()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a run id ({error}); remove it, and {tracker} starts a new run") from None
    if not _NAME.fullmatch(run_id):
        raise UserError(f"{file}: {run_id!r} is not a run id; remove it, and {tracker} starts a new run")
    return run_id
