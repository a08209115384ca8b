"""ViCC objective: every view predicts the prototype assignments of all other views.

    z_s = f(x_s) / |f(x_s)|                  embeddings of the views s                          models/encoder.py
    q_s = sinkhorn(z_s c / epsilon)          assignments of the global batch, with the queue    method/sinkhorn.py
    p_t = softmax(z_t c / temperature)       predictions                                        method/loss.py
    L   = - mean over s and t != s of sum_k q_s,k log p_t,k                                     method/loss.py

c are the unit-norm prototypes of the phase's stream. In stage 1 the views are two clips of that stream. Stage 2 adds
two clips of the other stream, whose network f is frozen. Only z_t of the phase's stream and c have a gradient.
V views, b samples of this worker, B of all workers, Q queued, D embedding, K prototypes.
Source: Toering et al., ViCC, 2021 (arXiv 2106.10137), section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vicc_ray.config import Stream
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.loss import cross_view_loss
from vicc_ray.method.objective import Metrics, ObjectiveContext
from vicc_ray.method.sinkhorn import sinkhorn
from vicc_ray.models.inference import fuse_batch_norms


class ViCCObjective:
    """ViCC as an :class:`~vicc_ray.method.objective.Objective`; equations above."""

    def __init__(self, context: ObjectiveContext) -> None:
        other: Stream = "flow" if context.stream == "rgb" else "rgb"
        self.frozen_encoder = (other, fuse_batch_norms(context.encoders[other])) if context.cross_stream else None
        self.prototypes = context.prototypes[context.stream]
        self.extra_trainables: list[nn.Module] = [self.prototypes]
        self.method = context.config.method
        self.views = 4 if context.cross_stream else 2
        self.queue = EmbeddingQueue(self.views, self.method.queue_size, context.config.model.embed_dim)
        self.queue.to(self.prototypes.weight.device)
        self.state = nn.ModuleDict({"queue": self.queue})
        self.unfreeze_prototypes_epoch = context.first_epoch + self.method.freeze_prototypes_epochs
        self.queue_epoch = context.first_epoch + self.method.first_queue_epoch(context.stream)
        self._pending: Tensor | None = None

    def loss(self, z: Tensor, gathered: Tensor, own: slice, epoch: float) -> tuple[Tensor, Metrics]:
        """L over this worker's samples."""
        c = self.prototypes
        c.normalize_weights()
        c.requires_grad_(epoch >= self.unfreeze_prototypes_epoch)
        q = self._assignments(gathered, epoch)
        loss = cross_view_loss(c(z), q[:, own], list(range(self.views)), self.method.temperature)
        state = {"queue_count": float(self.queue.count), "prototypes_frozen": float(not c.weight.requires_grad)}
        return loss, {**assignment_metrics(q), **state}

    @torch.no_grad()
    def _assignments(self, gathered: Tensor, epoch: float) -> Tensor:
        """q [V, B, K] of all workers' samples, balanced over these samples and the full queue."""
        self._pending = gathered if self.method.queue_size and epoch >= self.queue_epoch else None
        with_queue = self._pending is not None and self.queue.ready
        rows = torch.cat([self.queue.rows, gathered], dim=1) if with_queue else gathered
        q = sinkhorn(self.prototypes(rows), self.method.sinkhorn_epsilon, self.method.sinkhorn_iterations)
        return q[:, -gathered.shape[1] :]

    def after_step(self) -> None:
        """Push the step's embeddings."""
        if self._pending is not None:
            self.queue.push(self._pending)


@torch.no_grad()
def assignment_metrics(q: Tensor) -> Metrics:
    """Statistics of the assignments [V, B, K] of the first view.

    In a healthy run the entropy of the mean assignment is near ln K, and that of single assignments well below.
    """
    assignments = q[0]
    mean = assignments.mean(dim=0)
    choices = assignments.argmax(dim=1)
    first_choices = torch.zeros_like(mean).scatter_add_(0, choices, torch.ones_like(choices, dtype=mean.dtype))
    return {
        "chance_loss": math.log(q.shape[2]),
        "entropy": torch.special.entr(mean).sum(),
        "assignment_entropy": torch.special.entr(assignments).sum(dim=1).mean(),
        "prototypes_used": (first_choices > 0).sum(),
        "first_choices": first_choices,
    }
