"""Training schedule: the phases of a run and the learning rate within them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vicc_ray.config import OptimizerConfig, ScheduleConfig, Stream
from vicc_ray.errors import UserError

STREAMS: tuple[Stream, Stream] = ("rgb", "flow")
"""In the order of their phases."""


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs in which one stream is optimized while the other is frozen."""

    index: int
    name: str
    stage: int
    stream: Stream
    cross_stream: bool
    first_epoch: int
    epochs: int
    cosine_epochs: int

    @property
    def last_epoch(self) -> int:
        """The first epoch after the phase."""
        return self.first_epoch + self.epochs

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams whose clips the phase uses."""
        return STREAMS if self.cross_stream else (self.stream,)


def build_phases(schedule: ScheduleConfig) -> list[Phase]:
    """Phases of a run, in order; phases of zero epochs are omitted.

    Raises:
        UserError: nothing to train, a cosine is shorter than its phase, or the cycles are shorter than stage 2.
    """
    planned: list[tuple[str, int, Stream, int, int]] = [
        ("rgb-stage1", 1, "rgb", schedule.rgb_epochs, schedule.stage1_cosine_epochs),
        ("flow-stage1", 1, "flow", schedule.flow_epochs, schedule.stage1_cosine_epochs),
    ]
    return _placed(planned + _stage2(schedule), schedule.cross_stream)


def _stage2(schedule: ScheduleConfig) -> list[tuple[str, int, Stream, int, int]]:
    period, left = schedule.epochs_per_phase, schedule.stage2_max_epochs
    every = [(cycle, stream) for cycle in range(1, schedule.cycles + 1) for stream in STREAMS]
    if left > len(every) * period:
        raise UserError(
            f"schedule.stage2_max_epochs: {left} given, but {schedule.cycles} cycles of two phases of {period} "
            f"epochs have "
            f"{len(every) * period}; raise schedule.cycles to {-(-left // (2 * period))} or more"
        )
    kept = every[: -(-left // period)] if left else every
    lengths = [period] * len(kept)
    if left:
        lengths[-1] = left - period * (len(kept) - 1)
    if kept and kept[-1][1] == "flow" and not schedule.final_flow_phase:
        kept = kept[:-1]
    cosine = schedule.stage2_cosine_epochs
    return [
        (f"{stream}-stage2-{cycle}", 2, stream, epochs, cosine or epochs)
        for (cycle, stream), epochs in zip(kept, lengths, strict=False)
    ]


def _placed(planned: list[tuple[str, int, Stream, int, int]], cross_stream: bool) -> list[Phase]:
    phases: list[Phase] = []
    epoch = 0
    for name, stage, stream, epochs, cosine in planned:
        if epochs == 0:
            continue
        if cosine < epochs:
            key = f"schedule.stage{stage}_cosine_epochs"
            raise UserError(f"{key}: {cosine} given, but phase {name} lasts {epochs} epochs; give at least {epochs}")
        phases.append(Phase(len(phases), name, stage, stream, cross_stream and stage == 2, epoch, epochs, cosine))
        epoch += epochs
    if not phases:
        raise UserError("schedule: no epochs to train; set schedule.rgb_epochs, flow_epochs or cycles above 0")
    return phases


def phase_of(phases: list[Phase], epoch: int) -> Phase:
    """Phase that an epoch belongs to."""
    return next(phase for phase in phases if epoch < phase.last_epoch)


def learning_rate(optimizer: OptimizerConfig, phase: Phase, epoch: float) -> float:
    """Learning rate at a fractional epoch, counted from the start of the run: linear warmup, then cosine decay."""
    at = epoch - phase.first_epoch
    if at < optimizer.warmup_epochs:
        return optimizer.learning_rate * at / optimizer.warmup_epochs
    progress = (at - optimizer.warmup_epochs) / max(1e-9, phase.cosine_epochs - optimizer.warmup_epochs)
    high, low = optimizer.learning_rate, optimizer.min_lr
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * min(1.0, progress)))
