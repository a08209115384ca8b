"""What a tracker calls a run, kept in the run's folder, so that a run that goes on is not a second one there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vicc_ray.files import atomic_write


def kept_identity(run: Path, tracker: str, new: Callable[[], str]) -> str:
    """The name in RUN/trackers/<tracker>; ``new`` gives it where there is none yet."""
    file = run / "trackers" / tracker
    if not file.exists():
        atomic_write(file, new())
    return file.read_text()
