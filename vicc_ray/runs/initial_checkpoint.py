"""The checkpoint of another run that a run began with, kept in ``start.json`` so that it goes on with no other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_state import MODEL, read_state
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.fs import atomic_write, content_digest
from vicc_ray.utils.json_file import read_as

START_FILE = "start.json"


@dataclass(frozen=True)
class InitialCheckpoint:
    """A checkpoint, wherever it lies.

    Attributes:
        checkpoint: where it was when the run began.
        step, epoch: that it was made after.
        weights: digest of its networks.
    """

    checkpoint: str
    step: int
    epoch: float
    weights: str

    @classmethod
    def of(cls, checkpoint: Path) -> InitialCheckpoint:
        """That of a checkpoint's folder.

        Raises:
            UserError: it is none.
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
        """Whether a run that begins with either computes the same."""
        return (self.step, self.epoch, self.weights) == (other.step, other.epoch, other.weights)


def resolve_initial_checkpoint(folder: RunDir, given: Path | None) -> InitialCheckpoint | None:
    """What the run in ``folder`` begins with, or began with where it goes on; None: fresh weights.

    A run that has a checkpoint of its own goes on from that, so ``given`` may be left out then.

    Raises:
        UserError: it began with something else.
    """
    file, begun = folder.path / START_FILE, folder.checkpoints.newest() is not None
    before = _kept(file)
    if given is None:
        return _recorded(folder, before, begun)
    now = InitialCheckpoint.of(given)
    if before is None and begun:
        raise UserError(
            f"--from {given}: the run in {folder.path} did not begin with a checkpoint of another run, and goes on "
            "from its own; leave --from out to go on with it, or give another output folder"
        )
    if before is not None and not before.is_same(now):
        raise UserError(
            f"--from {given}: the run in {folder.path} began with {before}, and this is {now}; give that one to go on "
            "with it, or another output folder"
        )
    return now


def _kept(file: Path) -> InitialCheckpoint | None:
    try:
        return read_as(file, InitialCheckpoint, "what a run began with", "give another output folder")
    except FileNotFoundError:
        return None


def _recorded(folder: RunDir, before: InitialCheckpoint | None, begun: bool) -> InitialCheckpoint | None:
    if before is not None and not begun:
        raise UserError(
            f"{folder.path}: this run began with {before} and has no checkpoint of its own yet; give that one again "
            "(--from), or another output folder to begin with fresh weights"
        )
    return before if before is not None and Path(before.checkpoint).exists() else None


def require_remaining_epochs(start: InitialCheckpoint, epochs: int) -> None:
    """See that a run of so many epochs has some after its starting point.

    Raises:
        UserError: it has none.
    """
    if start.epoch > epochs - 1e-6:
        raise UserError(
            f"--from {start.checkpoint}: it was made after {start.epoch:g} epochs, and the schedule has {epochs}, so "
            "nothing is left to train; give an earlier checkpoint, or a longer schedule"
        )


def record_initial_checkpoint(folder: RunDir, start: InitialCheckpoint | None) -> None:
    """Write it into the opened folder."""
    if start is not None:
        atomic_write(folder.path / START_FILE, json.dumps(asdict(start), indent=1))
