"""Workload of a run: epochs, phases and steps, known from a list of the videos before they are prepared."""

from __future__ import annotations

from collections.abc import Collection

from vicc_ray.config import Config
from vicc_ray.runs.schedule import Phase, build_phases
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler, per_rank_sizes
from vicc_ray.training.tasks.pretrainer import check_queue
from vicc_ray.training.validation.split import Row, validation_sources

CROSS_STREAM_COST = 4 / 3
"""Cost of a cross-stream step relative to stage 1: the frozen network's forward pass adds one third to a forward and
backward pass."""


class Workload:
    """Epochs, phases and steps of a run."""

    def __init__(self, sampler: GlobalBatchSampler, phases: list[Phase]) -> None:
        self.sampler, self.phases = sampler, phases
        self.ends = sampler.phase_ends(phases)
        """Last step of each phase."""

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return max(self.ends.values())

    def cost(self, first: int, last: int) -> float:
        """Cost of the steps after ``first`` up to ``last``, in stage-1 steps."""
        total, start = 0.0, 0
        for phase in self.phases:
            end = self.ends[phase.name]
            total += max(0, min(last, end) - max(first, start)) * (CROSS_STREAM_COST if phase.cross_stream else 1.0)
            start = end
        return total

    def __str__(self) -> str:
        videos, batch = self.sampler.videos, self.sampler.batch
        epochs = sum(phase.epochs for phase in self.phases)
        return (
            f"{videos:,} training videos, {videos / batch:.3g} steps per epoch (batch {batch}), {epochs} epochs in "
            f"{len(self.phases)} phase{'s' if len(self.phases) > 1 else ''}: {self.steps:,} steps"
        )


def planned_workload(config: Config, videos: Collection[Row]) -> Workload:
    """Workload of training on listed videos, if all of them are usable.

    Args:
        videos: split, label and source of each video.

    Raises:
        UserError: the global batch exceeds the training videos, or settings contradict each other.
    """
    per_rank_sizes(config.train.global_batch_size, config.train.num_workers.max)
    check_queue(config)
    held_out = validation_sources(videos, config.train.validation_fraction)
    trained = sum(split != "test" and (split != "train" or source not in held_out) for split, _, source in videos)
    return Workload(
        GlobalBatchSampler(trained, config.train.global_batch_size, config.seed), build_phases(config.schedule)
    )
