"""What a run's schedule comes to, which a list of the videos already tells: before hours of preparing them."""

from __future__ import annotations

from collections.abc import Collection

from vicc_ray.config import Config
from vicc_ray.runs.schedule import Phase, build_phases
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler, per_rank_sizes
from vicc_ray.training.tasks.pretrainer import check_queue
from vicc_ray.training.validation.split import Row, validation_sources

CROSS_STREAM_COST = 4 / 3
"""What a step of a cross-stream phase computes of one in stage 1: the frozen network's forward pass beside the other's
forward and backward pass, which are three of these."""


class Workload:
    """Epochs, phases and steps of a run."""

    def __init__(self, sampler: GlobalBatchSampler, phases: list[Phase]) -> None:
        self.sampler, self.phases = sampler, phases
        self.ends = sampler.phase_ends(phases)
        """The last step of each phase."""

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return max(self.ends.values())

    def cost(self, first: int, last: int) -> float:
        """What the steps after ``first`` up to ``last`` cost, counted in steps of stage 1."""
        total, begin = 0.0, 0
        for phase in self.phases:
            end = self.ends[phase.name]
            total += max(0, min(last, end) - max(first, begin)) * (CROSS_STREAM_COST if phase.cross_stream else 1.0)
            begin = end
        return total

    def __str__(self) -> str:
        videos, batch = self.sampler.videos, self.sampler.batch
        epochs = sum(phase.epochs for phase in self.phases)
        return (
            f"{videos:,} training videos, {videos / batch:.3g} steps an epoch (batch {batch}), {epochs} epochs in "
            f"{len(self.phases)} phase{'s' if len(self.phases) > 1 else ''}: {self.steps:,} steps"
        )


def planned_workload(config: Config, videos: Collection[Row]) -> Workload:
    """What training on listed videos comes to if all of them can be used.

    Args:
        videos: split, label and source of each.

    Raises:
        UserError: a global batch of more videos than there are to train on, or settings that fit neither it nor each
            other.
    """
    per_rank_sizes(config.train.batch, config.train.workers.max)
    check_queue(config)
    held_out = validation_sources(videos, config.train.validation_share)
    trained = sum(split != "test" and (split != "train" or source not in held_out) for split, _, source in videos)
    return Workload(GlobalBatchSampler(trained, config.train.batch, config.seed), build_phases(config.schedule))
