"""The checkpoints of a run on its disk: each whole or absent, the newest found again, the old ones removed."""

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
from vicc_ray.utils.json_file import read_as

SCORE = "score.json"
"""In a checkpoint that is kept as the best: what it was scored."""
PENDING_MARKER = ".pending-validation"
"""In a checkpoint that is not to be removed before it has been scored."""
MAX_PENDING = 3
"""Marked checkpoints that are spared: where scoring is slower than training, or fails, the disk must not fill up."""


class CheckpointManager:
    """``step-00000500``, ``phase-0-rgb-stage1`` and ``best-rgb-00000400``; names with a dot first are on their way.

    One process writes and removes steps and phases; what is the best may be decided in another one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def step(self, step: int) -> str:
        """Name of a checkpoint between two steps of a phase."""
        return f"step-{step:08d}"

    def phase(self, index: int, name: str) -> str:
        """Name of the checkpoint of the end of a phase."""
        return f"phase-{index}-{name}"

    def clean_partial(self) -> None:
        """Remove what processes that were killed have left half-written or half-removed, once none writes here."""
        for rest in self.path.glob(".*"):
            shutil.rmtree(rest, ignore_errors=True)

    @contextmanager
    def commit(self, name: str, pending_validation: bool = False) -> Iterator[Path]:
        """Yield an empty folder that becomes the checkpoint ``name`` when the block ends well.

        Args:
            to_be_scored: mark it, so that it is not removed before it has been scored.

        The files are on the disk, not only on their way to it, before the name appears. One that is there stays: it
        is of the same step of the same run, and could not be replaced without a moment in which there is none.

        Raises:
            UserError: the one that is there is of another step.
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
        """Take a checkpoint away, if it is there; at no time is there a part of it under its name."""
        gone = self.path / f".{name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        try:
            (self.path / name).rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

    def newest(self) -> Path | None:
        """The checkpoint with the most steps, that of a phase before others of the same step; None without any."""
        found = [path for path in self.path.glob("[!.]*") if (path / STATE).exists()]
        return max(found, key=lambda it: (read_state(it)["step"], it.name.startswith("phase-"), it.name), default=None)

    def pending_validation(self, name: str) -> bool:
        """Whether the checkpoint is there and waits for its score."""
        return (self.path / name / PENDING_MARKER).exists()

    def clear_pending(self, name: str) -> None:
        """It has been scored."""
        (self.path / name / PENDING_MARKER).unlink(missing_ok=True)

    def prune(self, keep: int) -> None:
        """Remove all step checkpoints but the newest ``keep`` and those that are marked; phases and the best stay."""
        steps = sorted(self.path.glob("step-*"))
        marked = [path for path in steps if self.pending_validation(path.name)][-MAX_PENDING:]
        for old in steps[:-keep]:
            if old not in marked:
                self.remove(old.name)

    def finish(self, keep: int) -> None:
        """The run has ended: what still waits for its score could not be scored."""
        for path in self.path.glob("[!.]*"):
            self.clear_pending(path.name)
        self.prune(keep)

    def keep_best(self, name: str, stream: str, score: float, judged_by: str = "") -> bool:
        """Keep the checkpoint ``name`` for good if none of its stream was scored higher; the one before goes.

        Args:
            judged_by: fingerprint of what it was scored on; a score on something else is no higher.

        Returns:
            whether it is the best now.
        """
        before = {path.name: _score_of(path) for path in self._best(stream)}
        if any(old.score >= score and old.judged_by == judged_by for old in before.values()):
            return False
        source = self.path / name
        best = f"best-{stream}-{read_state(source)['step']:08d}"
        with self.commit(best) as tmp:
            for file in source.glob("[!.]*"):
                _link_or_copy(file, tmp / file.name)
            atomic_write(
                tmp / SCORE, json.dumps({"stream": stream, "score": score, "from": name, "judged_by": judged_by})
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
    judged_by: str = ""


def _score_of(checkpoint: Path) -> _Score:
    return read_as(checkpoint / SCORE, _Score, "the score of a checkpoint", f"remove {checkpoint}")


def _link_or_copy(file: Path, to: Path) -> None:
    try:
        os.link(file, to)  # no second copy on the disk
    except OSError:  # a file system without links
        shutil.copyfile(file, to)


def _check_same_step(new: Path, old: Path) -> None:
    steps = [read_state(folder)["step"] for folder in (new, old)]
    if steps[0] != steps[1]:
        raise UserError(
            f"{old}: a checkpoint of step {steps[1]} is there already, where one of step {steps[0]} is to be: it is of "
            "another run; choose another output folder"
        )


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
