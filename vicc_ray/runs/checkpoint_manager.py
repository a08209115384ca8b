"""Checkpoint folder of a run: atomic commits, the newest checkpoint, pruning, the best checkpoint of each stream."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_state import STATE, read_state
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_typed

SCORE = "score.json"
"""File in a best checkpoint: its validation score."""
PENDING_MARKER = ".pending-validation"
"""File in a checkpoint that is kept until it has been validated."""
MAX_PENDING = 3
"""Pending checkpoints that pruning spares. A bound, so that slow or failing validation cannot fill the disk."""


class CheckpointManager:
    """Checkpoints ``step-00000500``, ``phase-0-rgb-stage1`` and ``best-rgb-00000400`` below one path.

    A name with a leading dot is a partial checkpoint. One process writes and removes step and phase checkpoints;
    another one may choose the best.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def step(self, step: int) -> str:
        """Name of a checkpoint within a phase."""
        return f"step-{step:08d}"

    def phase(self, index: int, name: str) -> str:
        """Name of the checkpoint at the end of a phase."""
        return f"phase-{index}-{name}"

    def clean_partial(self) -> None:
        """Remove partial checkpoints that killed processes left; no process may be writing."""
        for partial in self.path.glob(".*"):
            shutil.rmtree(partial, ignore_errors=True)

    @contextmanager
    def commit(self, name: str, pending_validation: bool = False) -> Iterator[Path]:
        """Yield an empty folder that becomes the checkpoint ``name`` when the block succeeds.

        The files are flushed to disk before the name appears. An existing checkpoint stays: it is of the same step of
        the same run, and replacing it would leave a moment without any.

        Args:
            pending_validation: keep it until it has been validated.

        Raises:
            UserError: the existing checkpoint is of another step.
        """
        tmp = self.path / f".{name}.part"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        yield tmp
        if pending_validation:
            (tmp / PENDING_MARKER).touch()
        for file in tmp.iterdir():
            _flush(file)
        if (self.path / name).exists():
            _check_same_step(tmp, self.path / name)
            shutil.rmtree(tmp)
            return
        tmp.rename(self.path / name)
        _flush(self.path)

    def remove(self, name: str) -> None:
        """Remove a checkpoint if it exists. The rename comes first, so that no partial checkpoint bears its name."""
        removed = self.path / f".{name}.gone"
        shutil.rmtree(removed, ignore_errors=True)
        try:
            (self.path / name).rename(removed)
        except FileNotFoundError:
            return
        shutil.rmtree(removed, ignore_errors=True)

    def newest(self) -> Path | None:
        """Checkpoint with the most steps, a phase checkpoint before others of the same step; None without any."""
        checkpoints = [path for path in self.path.glob("[!.]*") if (path / STATE).exists()]
        return max(
            checkpoints,
            key=lambda path: (read_state(path)["step"], path.name.startswith("phase-"), path.name),
            default=None,
        )

    def pending_validation(self, name: str) -> bool:
        """Whether the checkpoint exists and waits for its validation."""
        return (self.path / name / PENDING_MARKER).exists()

    def clear_pending(self, name: str) -> None:
        """Mark the checkpoint as validated."""
        (self.path / name / PENDING_MARKER).unlink(missing_ok=True)

    def prune(self, keep: int) -> None:
        """Remove step checkpoints except the newest ``keep`` and the pending ones; phase and best checkpoints stay."""
        steps = sorted(self.path.glob("step-*"))
        pending = [path for path in steps if self.pending_validation(path.name)][-MAX_PENDING:]
        for old in steps[:-keep]:
            if old not in pending:
                self.remove(old.name)

    def finish(self, keep: int) -> None:
        """Prune at the end of the run, pending checkpoints too: their validation failed."""
        for path in self.path.glob("[!.]*"):
            self.clear_pending(path.name)
        self.prune(keep)

    def keep_best(self, name: str, stream: str, score: float, validation_set: str = "") -> bool:
        """Keep the checkpoint ``name`` as the best of its stream, unless an earlier one has at least its score.

        Args:
            validation_set: fingerprint of the validation set; scores on different sets are not compared.

        Returns:
            whether it is the best now.
        """
        before = {path.name: _score_of(path) for path in self._best(stream)}
        if any(old.score >= score and old.validation_set == validation_set for old in before.values()):
            return False
        source = self.path / name
        best = f"best-{stream}-{read_state(source)['step']:08d}"
        with self.commit(best) as tmp:
            for file in source.glob("[!.]*"):
                _link_or_copy(file, tmp / file.name)
            atomic_write(
                tmp / SCORE,
                json.dumps({"stream": stream, "score": score, "from": name, "validation_set": validation_set}),
            )
        for old in before:
            if old != best:
                self.remove(old)
        return True

    def _best(self, stream: str) -> list[Path]:
        return [path for path in self.path.glob(f"best-{stream}-*") if (path / SCORE).exists()]


@dataclass(frozen=True)
class _Score:
    score: float
    validation_set: str = ""


def _score_of(checkpoint: Path) -> _Score:
    return read_typed(checkpoint / SCORE, _Score, "the score of a checkpoint", f"remove {checkpoint}")


def _link_or_copy(file: Path, to: Path) -> None:
    try:
        os.link(file, to)  # no second copy on disk
    except OSError:  # a file system without links
        shutil.copyfile(file, to)


def _check_same_step(new: Path, old: Path) -> None:
    steps = [read_state(folder)["step"] for folder in (new, old)]
    if steps[0] != steps[1]:
        raise UserError(
            f"{old}: has step {steps[1]} already, but step {steps[0]} is being saved under this name: "
            "it belongs to another run; choose another output folder"
        )


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
