"""MoCo objective, the baseline: instance discrimination within one stream.

2 clips, b samples of this worker, B of all workers, Q queued, D embedding.
Source: He et al., MoCo, arXiv 1911.05722. The loss is symmetric: both clips are queries and keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vicc_ray.config import Stream
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.infonce import info_nce, matched
from vicc_ray.method.momentum_encoder import MomentumEncoder
from vicc_ray.method.objective import Metrics, ObjectiveContext
from vicc_ray.models.encoder import Encoder


class MoCoObjective:
    """MoCo as an :class:`~vicc_ray.method.objective.Objective`: a momentum encoder computes the keys."""

    def __init__(self, context: ObjectiveContext) -> None:
        self.method = context.config.method
        self.encoder = context.encoders[context.stream]
        device = next(self.encoder.parameters()).device
        self.key_encoder = MomentumEncoder(context.build_encoder(), self.method.moco_momentum)
        self.key_encoder.network.load_state_dict(self.encoder.state_dict())
        self.frozen_encoder: tuple[Stream, Encoder] | None = (context.stream, self.key_encoder.network)
        self.extra_trainables: list[nn.Module] = []
        self.queue = EmbeddingQueue(2, self.method.queue_size, context.config.model.embed_dim).to(device)
        self.state = nn.ModuleDict({"queue": self.queue, "key_encoder": self.key_encoder})
        self.queue_epoch = context.first_epoch + self.method.first_queue_epoch(context.stream)
        self._pending: Tensor | None = None

    def loss(self, z: Tensor, gathered: Tensor, own: slice, epoch: float) -> tuple[Tensor, Metrics]:
        """L = mean over clips s != t of -log(exp(q_s k_t+ / temperature) / sum over k_t of exp(q_s k_t / temperature)).

        The k_t are the keys of clips t on all workers and of the full queue; k_t+ is the key of the same video.
        """
        queries, keys = z[:2], gathered[2:]
        self._pending = keys if self.method.queue_size and epoch >= self.queue_epoch else None
        with_queue = self._pending is not None and self.queue.ready
        candidates = torch.cat([keys, self.queue.rows], dim=1) if with_queue else keys
        others = candidates.flip(0)  # queries of the first clip match keys of the second, and vice versa
        positives = torch.arange(keys.shape[1], device=z.device)
        loss = info_nce(queries, others, positives[own], self.method.moco_temperature)
        accuracy = matched(gathered[:2], others, positives)
        metrics = {"chance_loss": math.log(candidates.shape[1]), "queue_count": float(self.queue.count)}
        return loss, {**metrics, "matched": accuracy}

    def after_step(self) -> None:
        """Update the momentum encoder and push the step's keys."""
        self.key_encoder.update(self.encoder)
        if self._pending is not None:
            self.queue.push(self._pending)
