"""What is learnt in a phase, as the training step sees it. V views, b samples of this worker, B of all, D embedding."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from vicc_ray.config import Stream
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.models.encoder import Encoder

Metrics = dict[str, Tensor | float]
"""By name; tensors stay on the device. Of one value, but ``first_choices`` [K]: samples that prefer each prototype."""


class Objective(Protocol):
    """The loss of one phase and everything it keeps from step to step."""

    still: tuple[Stream, Encoder] | None
    """A second network that embeds both clips of a stream and is not trained, if there is one."""
    trained: list[nn.Module]
    """What is trained beside the network of the phase's stream."""
    queue: EmbeddingQueue
    state: nn.ModuleDict
    """What a checkpoint needs beside networks and prototypes."""

    def loss(self, z: Tensor, gathered: Tensor, own: slice, epoch: float) -> tuple[Tensor, Metrics]:
        """The mean loss over this worker's samples, and metrics that are equal on all workers.

        One of them is ``chance_loss``: the loss of an answer that gives everything the same share.

        Args:
            z: [V, b, D] of unit norm: both clips by the trained network, with gradient, then by the still one.
            gathered: [V, B, D], those of all workers.
            own: the places of this worker's samples among B.
            epoch: fractional, counted from the start of the run.
        """
        ...

    def after_step(self) -> None:
        """Take over what the step has brought, once the weights have moved."""
        ...
