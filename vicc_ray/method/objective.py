"""Objective protocol: the loss of a phase, as the training step sees it; construction by name.

V views, b samples of this worker, B of all workers, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from vicc_ray.config import Config, Stream
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.prototypes import Prototypes
from vicc_ray.models.encoder import Encoder
from vicc_ray.registry import OBJECTIVES, load_class

Metrics = dict[str, Tensor | float]
"""Metrics of a step by name; tensors stay on the device.

All are scalars except ``first_choices`` [K]: the number of samples that prefer each prototype.
"""


@dataclass(frozen=True)
class ObjectiveContext:
    """What an objective is built from, at the start of a phase."""

    config: Config
    """Settings of the phase's stage."""
    stream: Stream
    """The stream whose encoder is optimized."""
    cross_stream: bool
    """Whether the other stream's frozen encoder gives views too."""
    first_epoch: int
    """Epoch that the phase starts with."""
    encoders: Mapping[Stream, Encoder]
    prototypes: Mapping[Stream, Prototypes]
    build_encoder: Callable[[], Encoder]
    """Builds a further encoder with fresh weights, on the training device."""


class Objective(Protocol):
    """The loss of one phase and its state between steps.

    Its class is constructed with an :class:`ObjectiveContext` and listed in :data:`vicc_ray.registry.OBJECTIVES`.
    """

    frozen_encoder: tuple[Stream, Encoder] | None
    """Second encoder, which embeds both clips of a stream without gradient; None if there is none."""
    extra_trainables: list[nn.Module]
    """Modules that are optimized together with the encoder of the phase's stream."""
    queue: EmbeddingQueue
    state: nn.ModuleDict
    """State that a checkpoint saves beyond encoders and prototypes."""

    def loss(self, z: Tensor, gathered: Tensor, own: slice, epoch: float) -> tuple[Tensor, Metrics]:
        """Mean loss over this worker's samples, and metrics that are equal on all workers.

        One metric is ``chance_loss``: the loss of a uniform prediction.

        Args:
            z: [V, b, D], unit norm: both clips by the trained encoder, with gradient, then both by the frozen one.
            gathered: [V, B, D], embeddings of all workers.
            own: positions of this worker's samples among B.
            epoch: fractional, counted from the start of the run.
        """
        ...

    def after_step(self) -> None:
        """Update the state once the optimizer has moved the weights."""
        ...


def build_objective(context: ObjectiveContext) -> Objective:
    """Objective of a phase, by ``method.objective``."""
    spec = OBJECTIVES[context.config.method.objective]
    create: Callable[[ObjectiveContext], Objective] = load_class(spec)
    return create(context)
