"""One worker's side of pretraining: both networks, prototypes, queue and optimiser, moved on step by step.

V views (two RGB clips, two flow clips), b samples of this worker, B of all workers, D embedding, K prototypes, Q queue.
It knows nothing of how batches are made or workers started.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vicc_ray.config import Config, Stream
from vicc_ray.errors import UserError
from vicc_ray.method.loss import cross_view_loss
from vicc_ray.method.prototypes import Prototypes
from vicc_ray.method.queue import EmbeddingQueue
from vicc_ray.method.sinkhorn import sinkhorn
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.training.appearance import to_flow_input, to_rgb_input
from vicc_ray.training.group import gather, rank, sum_, world_size
from vicc_ray.training.optimiser import build_optimiser
from vicc_ray.training.schedule import Turn, learning_rate
from vicc_ray.training.shares import share_of, share_sizes
from vicc_ray.training.sync_batch_norm import synchronise

STREAMS: tuple[Stream, Stream] = ("rgb", "flow")
Batch = Mapping[str, Tensor]
"""rgb uint8 [b, 2, T, S, S, 3], flow uint8 [b, 2, T, S, S, 2] (only the streams of the turn), appearance [b, 2, P]."""


class Pretrainer:
    """Weights start from ``config.seed`` alone, so all workers begin alike.

    Raises:
        UserError: the queue is not a multiple of the global batch, or there are more workers than samples in it.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        if config.method.queue % config.train.batch:
            raise UserError(
                f"method.queue: {config.method.queue} given; it must be 0 or a multiple of train.batch "
                f"({config.train.batch}), since whole steps enter and leave it"
            )
        self.config, self.device = config, device
        self.sizes = share_sizes(config.train.batch, world_size())
        self.own = share_of(config.train.batch, rank(), world_size())
        torch.manual_seed(config.seed)
        self.encoders: dict[Stream, Encoder] = {s: self._build_encoder() for s in STREAMS}
        self.prototypes: dict[Stream, Prototypes] = {
            s: Prototypes(config.method.prototypes, config.model.embedding).to(device) for s in STREAMS
        }

    def _build_encoder(self) -> Encoder:
        encoder = build_encoder(self.config.model).to(self.device).to(memory_format=torch.channels_last_3d)
        synchronise(encoder)
        return encoder

    def start_turn(self, turn: Turn) -> None:
        """Make ``turn`` the current one: a fresh optimiser and an empty queue for its stream, the other frozen."""
        self.turn = turn
        own = turn.stream
        views = 4 if turn.cross else 2
        self.queue = EmbeddingQueue(views, self.config.method.queue, self.config.model.embedding).to(self.device)
        for stream in STREAMS:
            active = stream == own
            for module in (self.encoders[stream], self.prototypes[stream]):
                module.requires_grad_(active)
                module.train(active)
        self.optimiser = build_optimiser([self.encoders[own], self.prototypes[own]], self.config.optimiser)

    def step(self, batch: Batch, epoch: float) -> dict[str, Tensor | float]:
        """One optimisation step on this worker's share of a global batch.

        Args:
            batch: see :data:`Batch`.
            epoch: fractional position, counted from the start of the run.

        Returns:
            metrics, equal on all workers; tensors stay on the device, so that nothing waits for it here.
        """
        own, method = self.turn.stream, self.config.method
        rate = learning_rate(self.config.optimiser, self.turn, epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        prototypes = self.prototypes[own]
        prototypes.renormalise()
        embeddings = self._embed_views(batch)
        assignments, pushed, local = self._assign(embeddings, prototypes, epoch)
        loss = cross_view_loss(prototypes(embeddings), local, list(range(len(embeddings))), method.temperature)
        # The loss is a mean over this worker's samples. It is weighted before the backward pass and not after it, since
        # synchronised batch norm carries gradients from one worker's loss to another's samples.
        loss = loss * (self.sizes[rank()] / sum(self.sizes))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        total = loss.detach().clone()
        sum_([total, *(p.grad for p in self._trained() if p.grad is not None)])
        if epoch < self.turn.first_epoch + method.freeze_prototypes:
            prototypes.weight.grad = None
        self.optimiser.step()
        if pushed is not None:
            self.queue.push(pushed)
        return {"loss": total, "learning_rate": rate, **_assignment_metrics(assignments)}

    def _trained(self) -> list[nn.Parameter]:
        own = self.turn.stream
        return [*self.encoders[own].parameters(), *self.prototypes[own].parameters()]

    def _embed_views(self, batch: Batch) -> Tensor:
        """Unit-norm embeddings [V, b, D]: the optimised stream's two clips, then the frozen stream's."""
        own = self.turn.stream
        views = [self.embed_pair(batch, own)]
        if self.turn.cross:
            other: Stream = "flow" if own == "rgb" else "rgb"
            with torch.no_grad():
                views.append(self.embed_pair(batch, other))
        return torch.cat(views)

    def embed_pair(self, batch: Batch, stream: Stream) -> Tensor:
        """Embeddings [2, b, D] of both clips of one stream, in one pass through its network."""
        clips = batch[stream].to(self.device, non_blocking=True).transpose(0, 1).flatten(0, 1)
        if stream == "rgb":
            x = to_rgb_input(clips, batch["appearance"].transpose(0, 1).flatten(0, 1))
        else:
            x = to_flow_input(clips)
        mixed = self.config.train.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
            z = self.encoders[stream](x)
        return z.float().unflatten(0, (2, -1))

    def _assign(self, embeddings: Tensor, prototypes: Prototypes, epoch: float) -> tuple[Tensor, Tensor | None, Tensor]:
        """Assignments [V, B, K] of all workers' samples, rows for the queue (or None), this worker's [V, b, K]."""
        method = self.config.method
        gathered = gather(embeddings, dim=1, sizes=self.sizes)
        queued = method.queue > 0 and epoch >= self.turn.first_epoch + method.queue_start
        rows = torch.cat([self.queue.rows, gathered], dim=1) if queued and self.queue.ready else gathered
        with torch.no_grad():
            assignments = sinkhorn(prototypes(rows), method.epsilon, method.sinkhorn_iterations)[
                :, -gathered.shape[1] :
            ]
        return assignments, gathered if queued else None, assignments[:, self.own]


@torch.no_grad()
def _assignment_metrics(assignments: Tensor) -> dict[str, Tensor]:
    """Health of the assignments [V, B, K] of the first view: near ln K in the mean, well below it for each sample."""
    own = assignments[0]
    mean = own.mean(dim=0)
    return {
        "entropy": torch.special.entr(mean).sum(),
        "assignment_entropy": torch.special.entr(own).sum(dim=1).mean(),
        "prototypes_used": torch.zeros_like(mean).scatter_(0, own.argmax(dim=1), 1.0).sum(),
    }
