"""Pretrainer: both encoders, prototypes, objective and optimizer of one worker.

V views (two clips by the trained encoder, then two by the frozen one), b samples of this worker, B of all workers,
D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from vicc_ray.config import Config, Stream
from vicc_ray.errors import UserError
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.objective import Metrics, Objective, ObjectiveContext, build_objective
from vicc_ray.method.prototypes import Prototypes
from vicc_ray.models.encoder import Encoder
from vicc_ray.runs.schedule import STREAMS, Phase, learning_rate
from vicc_ray.training.data.batch_sampler import per_rank_sizes, rank_slice
from vicc_ray.training.distributed.collectives import all_gather_uneven, rank, world_size
from vicc_ray.training.distributed.global_gradient import backward
from vicc_ray.training.distributed.local_batch_norm import average_running_statistics
from vicc_ray.training.model_setup import build_network
from vicc_ray.training.optim.build import build_optimizer
from vicc_ray.training.precision import configure_backends
from vicc_ray.training.tasks.base import Batch
from vicc_ray.training.tasks.view_embedding import ViewEmbedder
from vicc_ray.video.flow import FlowUnit


def check_queue(config: Config) -> None:
    """Check that the queue of each stage holds whole steps of that stage.

    Raises:
        UserError: a queue size is not a multiple of the global batch.
    """
    for stage in (1, 2):
        settings = config.of_stage(stage)
        length, batch = settings.method.queue_size, settings.train.global_batch_size
        if length % batch:
            key = settings.key_of("method", "queue_size")
            raise UserError(
                f"{key}: {length} given; in stage {stage} it must be 0 or a multiple of "
                f"{settings.key_of('train', 'global_batch_size')} ({batch}), since whole steps enter and leave it"
            )


class Pretrainer:
    """:class:`~vicc_ray.training.tasks.base.Trainer` of pretraining.

    Initial weights depend on ``config.seed`` alone, so all workers start alike.

    Args:
        flow_unit: unit of the batches' flow; that of ``config.prepare`` by default.

    Attributes:
        last_embeddings: [B, D], embeddings of the first view of the last step, of all workers.

    Raises:
        UserError: a queue is not a multiple of the global batch.
    """

    def __init__(self, config: Config, device: torch.device, flow_unit: FlowUnit | None = None) -> None:
        check_queue(config)
        self.config, self.device = config, device
        self.flow_unit = flow_unit or FlowUnit.of(config.prepare)
        configure_backends(config.train, device)
        torch.manual_seed(config.seed)
        self.encoders: dict[Stream, Encoder] = {s: build_network(config, device) for s in STREAMS}
        self.prototypes: dict[Stream, Prototypes] = {s: self._fresh_prototypes(config) for s in STREAMS}

    def start_phase(self, phase: Phase) -> None:
        """Make ``phase`` the current one: a fresh optimizer and an empty queue, and the other stream frozen.

        Prototypes carry over from the phase before, unless their number changes.

        Raises:
            UserError: there are more workers than samples in a step.
        """
        self.phase = phase
        self.settings = self.config.of_stage(phase.stage)
        batch = self.settings.train.global_batch_size
        self.sizes, self.own = per_rank_sizes(batch, world_size()), rank_slice(batch, rank(), world_size())
        if self.prototypes["rgb"].count != self.settings.method.num_prototypes:
            torch.manual_seed(self.config.seed)
            self.prototypes = {stream: self._fresh_prototypes(self.settings) for stream in STREAMS}
        for stream in STREAMS:
            active = stream == phase.stream
            for module in (self.encoders[stream], self.prototypes[stream]):
                module.requires_grad_(active)
                module.train(active)
        self.objective = self._build_objective(phase)
        trained, frozen = self.encoders[phase.stream], self.objective.frozen_encoder
        self.embed_views = ViewEmbedder(self.settings, self.device, phase.stream, trained, frozen, self.flow_unit)
        modules = [trained, *self.objective.extra_trainables]
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = build_optimizer(modules, self.settings.optimizer)

    def _fresh_prototypes(self, settings: Config) -> Prototypes:
        return Prototypes(settings.method.num_prototypes, settings.model.embed_dim).to(self.device)

    def _build_objective(self, phase: Phase) -> Objective:
        context = ObjectiveContext(
            config=self.settings,
            stream=phase.stream,
            cross_stream=phase.cross_stream,
            first_epoch=phase.first_epoch,
            encoders=self.encoders,
            prototypes=self.prototypes,
            build_encoder=partial(build_network, self.settings, self.device),
        )
        return build_objective(context)

    @property
    def queue(self) -> EmbeddingQueue:
        """Queue of the current phase."""
        return self.objective.queue

    def modules(self) -> dict[str, nn.Module]:
        """Both encoders and both prototype sets: ``rgb.encoder.``, ``rgb.prototypes.``, ``flow.…``."""
        named: dict[str, nn.Module] = {}
        for stream in STREAMS:
            named[f"{stream}.encoder."] = self.encoders[stream]
            named[f"{stream}.prototypes."] = self.prototypes[stream]
        return named

    def progress_tensors(self) -> dict[str, Tensor]:
        """State of the objective, such as the queue; not copies."""
        return dict(self.objective.state.state_dict())

    def load_progress_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`progress_tensors` returned; its phase must have been started.

        Raises:
            UserError: the tensors belong to other settings.
        """
        try:
            self.objective.state.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise UserError(f"the checkpoint's objective state does not fit the configured method: {error}") from error

    def step(self, batch: Batch, epoch: float) -> Metrics:
        """One optimization step on this worker's slice of a global batch.

        Args:
            batch: rgb uint8 [b, 2, T, S, S, 3], flow uint8 [b, 2, T, S, S, 2] (streams of the phase only) and
                appearance [b, 2, P].
            epoch: fractional position, counted from the start of the run.

        Returns:
            metrics, equal on all workers; tensors stay on the device, so that the host does not wait. A non-finite
            ``loss`` or ``gradient_norm`` means that weights and batch-norm statistics may be non-finite too, so the
            caller checks both for every step before it saves a checkpoint.
        """
        rate = learning_rate(self.settings.optimizer, self.phase, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        z = self.embed_views(batch, epoch)  # [V, b, D]
        gathered = all_gather_uneven(z, dim=1, sizes=self.sizes)  # [V, B, D]
        local_loss, metrics = self.objective.loss(z, gathered, self.own, epoch)
        loss, norm = backward(local_loss, self.sizes, self.optimizer, self.parameters)
        self.optimizer.step()
        if self.settings.train.batch_norm == "local":
            average_running_statistics(self.encoders[self.phase.stream])
        self.objective.after_step()
        self.last_embeddings = gathered[0]
        return {"loss": loss, "learning_rate": rate, "gradient_norm": norm, **metrics}
