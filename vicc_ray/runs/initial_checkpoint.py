"""Initial checkpoint: the checkpoint of another run that a run starts from, recorded in ``start.json``.

A resumed run is checked against the record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_state import MODEL, read_state
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.fs import atomic_write, content_digest
from vicc_ray.utils.json_file import read_typed

START_FILE = "start.json"


@dataclass(frozen=True)
class InitialCheckpoint:
    """Identity of a checkpoint, independent of its path.

    Attributes:
        checkpoint: path of the checkpoint when the run started.
        step, epoch: position in its own run.
        weights: digest of its networks.
    """

    checkpoint: str
    step: int
    epoch: float
    weights: str

    @classmethod
    def of(cls, checkpoint: Path) -> InitialCheckpoint:
        """Identity of the checkpoint in a folder.

        Raises:
            UserError: the folder is not a checkpoint.
        """
        state = read_state(checkpoint)
        try:
            weights = content_digest(checkpoint / MODEL)
        except OSError as error:
            raise UserError(f"{checkpoint / MODEL}: cannot be read ({error.strerror})") from error
        return cls(str(checkpoint.resolve()), state["step"], state["epoch"], weights)

    def __str__(self) -> str:
        return f"{self.checkpoint} (step {self.step}, weights {self.weights[:16]})"

    def is_same(self, other: InitialCheckpoint) -> bool:
        """Whether runs that start from either compute the same."""
        return (self.step, self.epoch, self.weights) == (other.step, other.epoch, other.weights)


def resolve_initial_checkpoint(folder: RunDir, requested: Path | None) -> InitialCheckpoint | None:
    """Initial checkpoint of the run in ``folder``, new or resumed; None for fresh weights.

    A run with a checkpoint of its own resumes from that, so ``requested`` may be omitted then.

    Raises:
        UserError: the run started from something else.
    """
    resumes = folder.checkpoints.newest() is not None
    recorded = _read_record(folder.path / START_FILE)
    if requested is None:
        return _resolve_recorded(folder, recorded, resumes)
    initial = InitialCheckpoint.of(requested)
    if recorded is None and resumes:
        raise UserError(
            f"--init-from {requested}: the run in {folder.path} did not start from a checkpoint of another run, and "
            "resumes from its own; omit --init-from to resume it, or give another output folder"
        )
    if recorded is not None and not recorded.is_same(initial):
        raise UserError(
            f"--init-from {requested}: the run in {folder.path} started from {recorded}, and this is {initial}; give "
            "the recorded one to resume it, or another output folder"
        )
    return initial


def _read_record(file: Path) -> InitialCheckpoint | None:
    try:
        return read_typed(file, InitialCheckpoint, "the initial checkpoint of a run", "give another output folder")
    except FileNotFoundError:
        return None


def _resolve_recorded(folder: RunDir, recorded: InitialCheckpoint | None, resumes: bool) -> InitialCheckpoint | None:
    if recorded is not None and not resumes:
        raise UserError(
            f"{folder.path}: this run started from {recorded} and has no checkpoint of its own yet; give it again "
            "(--init-from), or another output folder to start from fresh weights"
        )
    return recorded if recorded is not None and Path(recorded.checkpoint).exists() else None


def require_remaining_epochs(start: InitialCheckpoint, epochs: int) -> None:
    """Check that a schedule of ``epochs`` has epochs left after the initial checkpoint.

    Raises:
        UserError: it has none.
    """
    if start.epoch > epochs - 1e-6:
        raise UserError(
            f"--init-from {start.checkpoint}: it is at epoch {start.epoch:g}, and the schedule has {epochs} epochs, "
            "so nothing is left to train; give an earlier checkpoint, or a longer schedule"
        )


def record_initial_checkpoint(folder: RunDir, start: InitialCheckpoint | None) -> None:
    """Record the initial checkpoint in the opened folder."""
    if start is not None:
        atomic_write(folder.path / START_FILE, json.dumps(asdict(start), indent=1))
