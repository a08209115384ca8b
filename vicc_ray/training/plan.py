"""Which videos form a global step: a function of (seed, step) alone, whatever the workers. N videos, B global batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vicc_ray.errors import UserError


@dataclass(frozen=True)
class Plan:
    """The order of all samples of a run.

    Every epoch is a new permutation of the videos, cut into whole global batches; the N mod B videos at its end wait
    for another epoch.

    Raises:
        UserError: there are fewer videos than one global batch takes.
    """

    videos: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.videos < self.batch:
            raise UserError(
                f"train.batch: {self.batch} given, but there are {self.videos} training videos; "
                f"set train.batch to {self.videos} or less"
            )

    @property
    def epoch_steps(self) -> int:
        """Global steps of one epoch."""
        return self.videos // self.batch

    def step(self, epoch: int, step: int) -> np.ndarray:
        """Indices of the videos of step ``step`` (0 to epoch_steps - 1) of an epoch, int64 [B]."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.videos)
        return order[step * self.batch : (step + 1) * self.batch]

    def share(self, epoch: int, step: int, rank: int, workers: int) -> np.ndarray:
        """The part of a step that worker ``rank`` of ``workers`` takes, int64 [B / workers]."""
        size = self.batch // workers
        return self.step(epoch, step)[rank * size : (rank + 1) * size]
