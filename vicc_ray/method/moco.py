"""The baseline's objective: each clip of a video finds the other one among those of all videos, within one stream.

2 clips, b samples of this worker, B of all, Q queued, D embedding.
Source: He et al., MoCo, arXiv 1911.05722; both clips are queries and keys in turn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vicc_ray.config import Config, Stream
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.infonce import info_nce, matched
from vicc_ray.method.momentum_encoder import MomentumEncoder
from vicc_ray.method.objective import Metrics
from vicc_ray.models.encoder import Encoder
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.model_setup import build_network


class InstanceContrast:
    """An :class:`~vicc_ray.method.objective.Objective`: keys come from a network that follows the trained one."""

    def __init__(self, config: Config, phase: Phase, encoder: Encoder) -> None:
        device = next(encoder.parameters()).device
        self.method = config.method
        self.encoder = encoder
        self.key_encoder = MomentumEncoder(build_network(config, device), self.method.key_momentum)
        self.key_encoder.network.load_state_dict(encoder.state_dict())
        self.still: tuple[Stream, Encoder] | None = (phase.stream, self.key_encoder.network)
        self.trained: list[nn.Module] = []
        self.queue = EmbeddingQueue(2, self.method.queue, config.model.embedding).to(device)
        self.state = nn.ModuleDict({"queue": self.queue, "key_encoder": self.key_encoder})
        self.queue_epoch = phase.first_epoch + self.method.queue_start
        self._coming: Tensor | None = None

    def loss(self, z: Tensor, gathered: Tensor, own: slice, epoch: float) -> tuple[Tensor, Metrics]:
        """L = mean over clips s != t of -log(exp(q_s k_t+ / temperature) / sum over k_t of exp(q_s k_t / temperature)).

        The k_t are the keys of all workers' clips t and, when it is full, the queue's; k_t+ is that of the same video.
        """
        queries, keys = z[:2], gathered[2:]
        self._coming = keys if self.method.queue and epoch >= self.queue_epoch else None
        with_queue = self._coming is not None and self.queue.ready
        candidates = torch.cat([keys, self.queue.rows], dim=1) if with_queue else keys
        others = candidates.flip(0)  # the first clip's query looks for the second clip's key, and the other way round
        positives = torch.arange(keys.shape[1], device=z.device)
        loss = info_nce(queries, others, positives[own], self.method.instance_temperature)
        share = matched(gathered[:2], others, positives)
        return loss, {"chance_loss": math.log(candidates.shape[1]), "matched": share}

    def after_step(self) -> None:
        """Let the keys' network follow, and queue the step's keys."""
        self.key_encoder.follow(self.encoder)
        if self._coming is not None:
            self.queue.push(self._coming)
