"""Global batch sampler: the videos of a step depend on (seed, step, global batch) alone, never on the workers.

N videos, B global batch, W workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.runs.schedule import Phase


@dataclass(frozen=True)
class Stage2Batch:
    """Global batch of stage 2, and the epoch that stage 2 starts with."""

    first_epoch: int
    batch: int


@dataclass(frozen=True)
class _Segment:
    """Consecutive steps with the same global batch."""

    first_step: int
    position: int
    """Samples before the first step, where every earlier epoch counts as ``samples_per_epoch``."""
    batch: int
    samples_per_epoch: int

    def position_at(self, step: int) -> int:
        """Samples before a step."""
        return self.position + (step - self.first_step) * self.batch

    def first_step_at(self, epoch: float) -> int:
        """First step that starts in or after ``epoch``."""
        whole = int(epoch)
        if whole == epoch:
            return self.first_step - (self.position - whole * self.samples_per_epoch) // self.batch
        steps = (epoch * self.samples_per_epoch - self.position) / self.batch
        return self.first_step + int(np.ceil(steps - 1e-6))


@dataclass(frozen=True)
class GlobalBatchSampler:
    """Sequence of all samples of a run: one permutation of the videos per epoch.

    Each step takes the next B samples of the sequence. Where B does not divide N, a step spans two epochs, and every
    video still occurs exactly once per epoch. Stage 2 continues the sequence where the last step of stage 1 ended.

    With ``drop_last`` each epoch has N // B steps, and leaves out the rest of its permutation.

    Raises:
        UserError: there are fewer videos than a global batch.
    """

    videos: int
    batch: int
    """Global batch of all steps before stage 2."""
    seed: int
    drop_last: bool = False
    stage2: Stage2Batch | None = None
    """Stage 2, if its steps are to have a global batch of their own."""

    @classmethod
    def of_run(cls, videos: int, config: Config, phases: Sequence[Phase]) -> GlobalBatchSampler:
        """Sampler of a pretraining run."""
        first = next((phase.first_epoch for phase in phases if phase.stage == 2), None)
        batch = config.of_stage(2).train.global_batch_size
        stage2 = None if first is None else Stage2Batch(first, batch)
        return cls(videos, config.train.global_batch_size, config.seed, config.train.drop_last, stage2)

    def __post_init__(self) -> None:
        batches = {"train.global_batch_size": self.batch}
        if self.stage2 is not None and self.stage2.batch != self.batch:
            stage1 = batches if self.stage2.first_epoch else {}
            batches = {**stage1, "stage2.global_batch_size": self.stage2.batch}
        for key, batch in batches.items():
            if self.videos < batch:
                raise UserError(
                    f"{key}: {batch} given, but there are {self.videos} training videos; "
                    f"set {key} to {self.videos} or less"
                )

    @cached_property
    def _segments(self) -> list[_Segment]:
        """Segments in the order of their steps: stage 1, then stage 2."""
        segments = [_Segment(0, 0, self.batch, self._samples_per_epoch(self.batch))]
        if self.stage2 is not None:
            step = segments[0].first_step_at(self.stage2.first_epoch)
            samples = self._samples_per_epoch(self.stage2.batch)
            position = self.stage2.first_epoch * samples if self.drop_last else segments[0].position_at(step)
            segments.append(_Segment(step, position, self.stage2.batch, samples))
        return segments

    def _samples_per_epoch(self, batch: int) -> int:
        return self.videos // batch * batch if self.drop_last else self.videos

    def _segment(self, step: int) -> _Segment:
        return next(segment for segment in reversed(self._segments) if segment.first_step <= step)

    def batch_at(self, step: int) -> int:
        """Global batch of a step."""
        return self._segment(step).batch

    def steps_per_epoch(self, phase: Phase) -> float:
        """Steps of an epoch, fractional where the global batch does not divide the number of samples."""
        segment = self._segment(self.first_step(phase.first_epoch))
        return segment.samples_per_epoch / segment.batch

    def phase_ends(self, phases: Iterable[Phase]) -> dict[str, int]:
        """Last step of each phase, by name."""
        return {phase.name: self.first_step(phase.last_epoch) for phase in phases}

    def epoch_at(self, step: int) -> float:
        """Epochs of samples before ``step``, fractional."""
        segment = self._segment(step)
        return segment.position_at(step) / segment.samples_per_epoch

    def epochs_before(self, step: int) -> int:
        """Whole epochs of samples before ``step``: the epoch that the step starts in."""
        segment = self._segment(step)
        return segment.position_at(step) // segment.samples_per_epoch

    def first_step(self, epoch: float) -> int:
        """First step that starts in or after ``epoch``."""
        started = (s for s in reversed(self._segments) if s.position <= epoch * s.samples_per_epoch)
        return next(started).first_step_at(epoch)

    def ends_epoch(self, step: int) -> bool:
        """Whether the last of ``step`` steps completes an epoch."""
        return step > 0 and self.epochs_before(step) > self.epochs_before(step - 1)

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the videos of a step, and the epoch of each: int64 [B] both."""
        segment = self._segment(step)
        samples = segment.position_at(step) + np.arange(segment.batch)
        epochs, positions = np.divmod(samples, segment.samples_per_epoch)
        videos = np.empty(segment.batch, np.int64)
        for epoch in np.unique(epochs):
            in_epoch = epochs == epoch
            videos[in_epoch] = _permutation(self.seed, int(epoch), self.videos)[positions[in_epoch]]
        return videos, epochs

    def rank_batch(self, step: int, rank: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
        """Slice of a step for worker ``rank`` of ``workers``: videos and epochs, int64 [b] both.

        Raises:
            UserError: there are more workers than samples in a step.
        """
        samples = rank_slice(self.batch_at(step), rank, workers)
        videos, epochs = self.step(step)
        return videos[samples], epochs[samples]


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, videos: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(videos)


def per_rank_sizes(batch: int, workers: int, key: str = "train.global_batch_size") -> list[int]:
    """Number of samples of each worker, by rank: B // W, and one more for the first B % W workers.

    Args:
        key: setting of the global batch, for the error.

    Raises:
        UserError: there are more workers than samples.
    """
    if workers > batch:
        raise UserError(
            f"train.num_workers: {workers} workers given for a global batch of {batch}; every worker takes at least "
            f"one sample of each step, so set train.num_workers to {batch} or less, or raise {key}"
        )
    size, remainder = divmod(batch, workers)
    return [size + 1] * remainder + [size] * (workers - remainder)


def rank_slice(batch: int, rank: int, workers: int) -> slice:
    """Contiguous slice of the global batch for worker ``rank`` of ``workers``."""
    sizes = per_rank_sizes(batch, workers)
    start = sum(sizes[:rank])
    return slice(start, start + sizes[rank])
