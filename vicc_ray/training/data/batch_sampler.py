"""Which videos form a global step: a function of (seed, step, global batch) alone, whatever the workers.

N videos, B global batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vicc_ray.errors import UserError
from vicc_ray.runs.schedule import Phase


@dataclass(frozen=True)
class GlobalBatchSampler:
    """The order of all samples of a run: one permutation of the videos after the other, an epoch each.

    Step k takes the samples k B to (k + 1) B - 1 of that sequence. Where B does not divide N, a step begins with the
    last videos of an epoch and ends with the first of the next: every video comes exactly once an epoch.

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
    def steps_per_epoch(self) -> float:
        """Steps of an epoch, fractional where the global batch does not divide the number of videos."""
        return self.videos / self.batch

    def phase_ends(self, phases: Iterable[Phase]) -> dict[str, int]:
        """Last step of each phase, by name."""
        return {phase.name: self.first_step(phase.last_epoch) for phase in phases}

    def epoch_at(self, step: int) -> float:
        """How many epochs of samples come before ``step``."""
        return step * self.batch / self.videos

    def epochs_before(self, step: int) -> int:
        """How many whole epochs of samples come before ``step``: the epoch that it begins in."""
        return step * self.batch // self.videos

    def first_step(self, epoch: float) -> int:
        """The first step that begins in or after ``epoch``."""
        whole = int(epoch)
        if whole == epoch:
            return -(-whole * self.videos // self.batch)
        return int(np.ceil(epoch * self.videos / self.batch - 1e-6))

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is complete after ``step`` steps that was not before the last of them."""
        return step > 0 and self.epochs_before(step) > self.epochs_before(step - 1)

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the videos of a step, and the epoch that each is taken in: int64 [B] both."""
        epochs, places = np.divmod(np.arange(step * self.batch, (step + 1) * self.batch), self.videos)
        videos = np.empty(self.batch, np.int64)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            videos[of_epoch] = _order(self.seed, int(epoch), self.videos)[places[of_epoch]]
        return videos, epochs

    def rank_batch(self, step: int, rank: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
        """The part of a step that worker ``rank`` of ``workers`` takes: videos and epochs, int64 [b] both.

        Raises:
            UserError: there are more workers than samples in a step.
        """
        own = rank_slice(self.batch, rank, workers)
        videos, epochs = self.step(step)
        return videos[own], epochs[own]


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, videos: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(videos)


def per_rank_sizes(batch: int, workers: int) -> list[int]:
    """Samples of every worker, in the order of ranks: B // W each, one more for the first B % W of them.

    Raises:
        UserError: there are more workers than samples.
    """
    if workers > batch:
        raise UserError(
            f"train.workers: {workers} workers given for a global batch of {batch}; every worker takes at least one "
            f"sample of each step, so set train.workers to {batch} or less, or raise train.batch"
        )
    size, left = divmod(batch, workers)
    return [size + 1] * left + [size] * (workers - left)


def rank_slice(batch: int, rank: int, workers: int) -> slice:
    """The places of a global batch that worker ``rank`` of ``workers`` takes."""
    sizes = per_rank_sizes(batch, workers)
    first = sum(sizes[:rank])
    return slice(first, first + sizes[rank])
