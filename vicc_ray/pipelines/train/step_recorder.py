"""Step recorder: metrics of each training step, logged one step late so that no step waits for the device.

B samples of a global batch, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vicc_ray.method.objective import Metrics
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.distributed.collectives import world_size
from vicc_ray.training.monitoring.epoch_stats import CHOICES
from vicc_ray.training.monitoring.run_logger import RunLogger
from vicc_ray.training.tasks.base import Task


class UnrecoverableError(Exception):
    """Failure that a restart would only repeat; all workers raise it at the same step."""


@dataclass(frozen=True)
class Step:
    """A step whose metrics may still be on their way from the device."""

    number: int
    phase: Phase
    metrics: Metrics
    embeddings: Tensor | None
    """[B, D], see :class:`~vicc_ray.training.tasks.base.Trainer`."""
    waited: float
    """Seconds that this worker waited for the batch."""
    flags: Tensor
    """[3], summed over the workers: seconds that they waited for data; above 0: it is time to poll for a preemption
    notice; above 0: a checkpoint is requested."""
    seconds: float = 0.0
    """From the end of the previous step to the end of this one, as this worker's host sees it."""


class StepRecorder:
    """Holds the last step back until the next one has been started, then logs it.

    Args:
        logger: of the run's files, on the first worker; None on the others.
    """

    def __init__(self, task: Task, logger: RunLogger | None, device: torch.device) -> None:
        self._task, self._logger, self._device = task, logger, device
        self._pending_step: Step | None = None

    def start_phase(self, phase: Phase, steps: int) -> None:
        """Start the statistics of a phase, after ``steps`` steps of the run."""
        self._epoch_stats = self._task.epoch_stats(phase, self._device)
        if self._logger:
            self._logger.start_phase(phase, steps)

    def add(self, step: Step) -> None:
        """Keep a step as pending; :meth:`flush` must have logged the previous one."""
        self._pending_step = step

    def flush(self) -> Step | None:
        """Log the pending step, once the device has finished it, and return it.

        Raises:
            UnrecoverableError: its loss or gradient norm is not finite.
        """
        step, self._pending_step = self._pending_step, None
        if step is None:
            return None
        values = {name: float(value) for name, value in step.metrics.items() if name != CHOICES}
        self._log(step, values)
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient_norm"]):
            raise UnrecoverableError(
                f"the loss is {values['loss']:g} and its gradient norm {values['gradient_norm']:g} at step "
                f"{step.number} (phase {step.phase.name}): training has diverged. {self._task.divergence_hint}, "
                "and start in another output folder"
            )
        return step

    def close(self, phase: Phase, steps: int) -> None:
        """Finish the run's files and trackers after its last phase."""
        if self._logger:
            self._logger.close(phase, steps)

    def _log(self, step: Step, values: dict[str, float]) -> None:
        self._epoch_stats.add(step.metrics, step.embeddings, step.waited, step.seconds - step.waited)
        if self._logger:
            self._logger.step(self._line(step, values))
        sampler = self._task.sampler
        if sampler.ends_epoch(step.number):
            figures = self._epoch_stats.summary()
            if self._logger:
                self._logger.end_epoch(step.phase, step.number, sampler.epochs_before(step.number), figures)

    def _line(self, step: Step, values: dict[str, float]) -> dict[str, object]:
        """The step as a line of ``metrics.jsonl``."""
        phase, sampler = step.phase, self._task.sampler
        samples = sampler.batch_at(step.number - 1)
        return {
            **{"step": step.number, "epoch": sampler.epochs_before(step.number - 1), "phase": phase.name},
            **{"stage": phase.stage, "stream": phase.stream},
            **values,
            **self._task.step_constants(phase),
            "data_ms": 1000 * float(step.flags[0]) / world_size(),
            "compute_ms": 1000 * (step.seconds - step.waited),
            "samples": samples,
            "samples_per_s": samples / step.seconds,
            "workers": world_size(),
        }
