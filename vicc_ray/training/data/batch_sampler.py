"""Global batch sampler: the videos of a step depend on (seed, step, global batch) alone, never on the workers.

N videos, B global batch, W workers.
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
    """Sequence of all samples of a run: one permutation of the videos per epoch.

    Step k takes samples k B to (k + 1) B - 1 of the sequence. Where B does not divide N, a step spans two epochs, and
    every video still occurs exactly once per epoch.

    Raises:
        UserError: there are fewer videos than the global batch.
    """

    videos: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.videos < self.batch:
            raise UserError(
                f"train.global_batch_size: {self.batch} given, but there are {self.videos} training videos; "
                f"set train.global_batch_size to {self.videos} or less"
            )

    @property
    def steps_per_epoch(self) -> float:
        """Steps of an epoch, fractional where the global batch does not divide the number of videos."""
        return self.videos / self.batch

    def phase_ends(self, phases: Iterable[Phase]) -> dict[str, int]:
        """Last step of each phase, by name."""
        return {phase.name: self.first_step(phase.last_epoch) for phase in phases}

    def epoch_at(self, step: int) -> float:
        """Epochs of samples before ``step``, fractional."""
        return step * self.batch / self.videos

    def epochs_before(self, step: int) -> int:
        """Whole epochs of samples before ``step``: the epoch that the step starts in."""
        return step * self.batch // self.videos

    def first_step(self, epoch: float) -> int:
        """First step that starts in or after ``epoch``."""
        whole = int(epoch)
        if whole == epoch:
            return -(-whole * self.videos // self.batch)
        return int(np.ceil(epoch * self.videos / self.batch - 1e-6))

    def ends_epoch(self, step: int) -> bool:
        """Whether the last of ``step`` steps completes an epoch."""
        return step > 0 and self.epochs_before(step) > self.epochs_before(step - 1)

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the videos of a step, and the epoch of each: int64 [B] both."""
        epochs, positions = np.divmod(np.arange(step * self.batch, (step + 1) * self.batch), self.videos)
        videos = np.empty(self.batch, np.int64)
        for epoch in np.unique(epochs):
            in_epoch = epochs == epoch
            videos[in_epoch] = _permutation(self.seed, int(epoch), self.videos)[positions[in_epoch]]
        return videos, epochs

    def rank_batch(self, step: int, rank: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
        """Slice of a step for worker ``rank`` of ``workers``: videos and epochs, int64 [b] both.

        Raises:
            UserError: there are more workers than samples in a step.
        """
        samples = rank_slice(self.batch, rank, workers)
        videos, epochs = self.step(step)
        return videos[samples], epochs[samples]


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, videos: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(videos)


def per_rank_sizes(batch: int, workers: int) -> list[int]:
    """Number of samples of each worker, by rank: B // W, and one more for the first B % W workers.

    Raises:
        UserError: there are more workers than samples.
    """
    if workers > batch:
        raise UserError(
            f"train.num_workers: {workers} workers given for a global batch of {batch}; every worker takes at least "
            f"one "
            f"sample of each step, so set train.num_workers to {batch} or less, or raise train.global_batch_size"
        )
    size, remainder = divmod(batch, workers)
    return [size + 1] * remainder + [size] * (workers - remainder)


def rank_slice(batch: int, rank: int, workers: int) -> slice:
    """Contiguous slice of the global batch for worker ``rank`` of ``workers``."""
    sizes = per_rank_sizes(batch, workers)
    start = sum(sizes[:rank])
    return slice(start, start + sizes[rank])
