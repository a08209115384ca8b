"""Task and trainer protocols: what a run trains, as the worker loop sees it. b samples of this worker.

Pretraining and classification implement both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.method.objective import Metrics
from vicc_ray.runs.checkpoint_state import Checkpointable
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder
from vicc_ray.training.monitoring.diagnostics import Diagnostic
from vicc_ray.training.monitoring.epoch_stats import EpochStats

Batch = Mapping[str, Tensor]
"""Output of a :class:`vicc_ray.training.data.clip_batches.ClipBatchBuilder`: clips of this worker, and their draws."""


class Trainer(Checkpointable, Protocol):
    """One worker's side of a training run. All workers hold the same weights before and after every step."""

    sizes: list[int]
    """Samples of each worker in a step."""

    @property
    def last_embeddings(self) -> Tensor | None:
        """[B, D] of the last step's samples of all workers, for the epoch statistics; None where there are none."""
        ...

    def start_phase(self, phase: Phase) -> None:
        """Make ``phase`` the current one, with a fresh optimizer."""
        ...

    def step(self, batch: Batch, epoch: float) -> Metrics:
        """One optimization step on this worker's slice of a global batch, at a fractional epoch of the run.

        Returns:
            ``loss`` of the global batch, ``gradient_norm``, ``learning_rate`` and more, equal on all workers.
        """
        ...


class Task(Protocol):
    """Made from settings, clip store and run folder by the driver and by every worker; making it trains nothing.

    Raises (when it is made):
        UserError: settings and store do not fit.
    """

    kind: str
    """By which the workers make the same one."""
    config: Config
    store: ClipStore
    phases: list[Phase]
    """What is trained one after the other; at least one."""
    sampler: GlobalBatchSampler
    """Which videos form a step; its batch is the global batch."""
    inputs: RunInputs
    """What going on depends on beside the settings."""
    batch_bytes: int
    """Of the clips of the largest global batch."""
    divergence_hint: str
    """What to change where a run diverges, as the end of an error message."""

    @property
    def has_validation(self) -> bool:
        """Whether checkpoints are scored on held-out videos while the run goes on."""
        ...

    def trainer(self, device: torch.device) -> Trainer:
        """The networks as they are at the very start."""
        ...

    def builder(self, phase: Phase, rank: int, workers: int) -> ClipBatchBuilder:
        """The batches of one worker in a phase."""
        ...

    def epoch_stats(self, phase: Phase, device: torch.device) -> EpochStats:
        """What gathers the figures of an epoch of a phase."""
        ...

    def step_constants(self, phase: Phase) -> Mapping[str, float]:
        """What stands in every step's line beside what the step gave."""
        ...

    def diagnose(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        """What is wrong with a running ``phase``, given the figures of its epochs so far."""
        ...
