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
"""Output of a :class:`vicc_ray.training.data.clip_batches.ClipBatchBuilder`: clips of this worker and their
augmentation parameters."""


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
    """A training task. The driver and every worker construct it from settings, clip store and run folder.

    Raises (on construction):
        UserError: settings and store do not fit.
    """

    kind: str
    """Name by which the workers construct the same task."""
    config: Config
    store: ClipStore
    phases: list[Phase]
    """Phases in order; at least one."""
    sampler: GlobalBatchSampler
    """Sampler of the global batches."""
    inputs: RunInputs
    """Inputs that a resumed run must share, besides the settings."""
    batch_bytes: int
    """Bytes of the clips of the largest global batch."""
    divergence_hint: str
    """Settings to change where a run diverges, as the end of an error message."""

    @property
    def has_validation(self) -> bool:
        """Whether checkpoints are validated during the run."""
        ...

    def trainer(self, device: torch.device) -> Trainer:
        """Trainer with initial weights."""
        ...

    def builder(self, phase: Phase, rank: int, workers: int) -> ClipBatchBuilder:
        """Builder of one worker's batches in a phase."""
        ...

    def epoch_stats(self, phase: Phase, device: torch.device) -> EpochStats:
        """Accumulator of a phase's epoch statistics."""
        ...

    def step_constants(self, phase: Phase) -> Mapping[str, float]:
        """Constants that every step's line contains, besides the metrics of the step."""
        ...

    def diagnose(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        """Diagnostics of a running ``phase``, from the statistics of its epochs so far."""
        ...
