"""What moves networks on step by step, as checkpoints and the workers' loop see it. b samples of this worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from vicc_ray.method.objective import Metrics
from vicc_ray.runs.schedule import Phase

Batch = Mapping[str, Tensor]
"""Output of a :class:`vicc_ray.training.data.clip_batches.ClipBatchBuilder`: clips of this worker, and their draws."""


class Trainer(Protocol):
    """One worker's side of a training run. Weights are the same on all workers, before and after every step."""

    phase: Phase
    """The current one."""
    sizes: list[int]
    """Samples of every worker in a step."""
    optimiser: torch.optim.Optimizer
    """That of the current phase."""

    @property
    def last_embeddings(self) -> Tensor | None:
        """[B, D] of the last step's samples of all workers, for a look at their health; None where there are none."""
        ...

    def start_phase(self, phase: Phase) -> None:
        """Make ``phase`` the current one, with a fresh optimiser."""
        ...

    def step(self, batch: Batch, epoch: float) -> Metrics:
        """One optimisation step on this worker's share of a global batch, at a fractional epoch of the run.

        Returns:
            ``loss`` of the global batch, ``gradient_norm``, ``learning_rate`` and more, equal on all workers.
        """
        ...

    def modules(self) -> dict[str, nn.Module]:
        """Everything whose state a checkpoint keeps, by the prefix of its tensors' names."""
        ...

    def progress_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint needs of the current phase beside modules and optimiser. Not copies."""
        ...

    def load_progress_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`progress_tensors` gave; the phase that it is of must have been started."""
        ...
