"""Workload of a run: epochs, phases and steps, known from a list of the videos before they are prepared."""

from __future__ import annotations

from collections.abc import Collection

from vicc_ray.config import Config
from vicc_ray.runs.schedule import Phase, build_phases
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler, per_rank_sizes
from vicc_ray.training.data.clip_batches import sample_bytes
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
        """Cost of the steps after ``first`` up to ``last``, in steps of the first phase's global batch."""
        total, start = 0.0, 0
        for phase in self.phases:
            end = self.ends[phase.name]
            relative_batch = self.sampler.batch_at(end - 1) / self.sampler.batch_at(0)
            cost = relative_batch * (CROSS_STREAM_COST if phase.cross_stream else 1.0)
            total += max(0, min(last, end) - max(first, start)) * cost
            start = end
        return total

    def __str__(self) -> str:
        epochs = sum(phase.epochs for phase in self.phases)
        return (
            f"{self.sampler.videos:,} training videos, {self._epoch_lengths()}, {epochs} epochs in "
            f"{len(self.phases)} phase{'s' if len(self.phases) > 1 else ''}: {self.steps:,} steps"
        )

    def _epoch_lengths(self) -> str:
        """Steps per epoch with their global batch, of each stage where the batches differ."""
        lengths = {
            self.sampler.batch_at(self.ends[phase.name] - 1): (phase.stage, self.sampler.steps_per_epoch(phase))
            for phase in self.phases
        }
        return ", ".join(
            f"{steps:.3g} steps per epoch{f' of stage {stage}' if len(lengths) > 1 else ''} (batch {batch})"
            for batch, (stage, steps) in lengths.items()
        )


def planned_workload(config: Config, videos: Collection[Row]) -> Workload:
    """Workload of training on listed videos, if all of them are usable.

    Args:
        videos: split, label and source of each video.

    Raises:
        UserError: the global batch exceeds the training videos, or settings contradict each other.
    """
    check_batches(config)
    held_out = validation_sources(videos, config.train.validation_fraction)
    trained = sum(split != "test" and (split != "train" or source not in held_out) for split, _, source in videos)
    phases = build_phases(config.schedule)
    return Workload(GlobalBatchSampler.of_run(trained, config, phases), phases)


def check_batches(config: Config) -> None:
    """Check that workers and queue fit the global batch of each stage.

    Raises:
        UserError: there are more workers than samples in a step, or a queue does not hold whole steps.
    """
    for stage in (1, 2):
        settings = config.of_stage(stage)
        key = settings.key_of("train", "global_batch_size")
        per_rank_sizes(settings.train.global_batch_size, config.train.num_workers.max, key)
    check_queue(config)


def largest_batch_bytes(config: Config, phases: Collection[Phase]) -> int:
    """Bytes of the clips of a run's largest global batch."""
    return max(
        config.of_stage(phase.stage).train.global_batch_size * sample_bytes(config.clip, phase.streams)
        for phase in phases
    )
