"""Classifier trainer: cross-entropy on one clip per video, for linear probes and fine-tuning.

b samples of this worker, B of all workers, N videos, F features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.config import Config, Stream
from vicc_ray.method.objective import Metrics
from vicc_ray.models.classifier import Classifier
from vicc_ray.models.encoder import Encoder
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.runs.schedule import Phase, learning_rate
from vicc_ray.training.data.batch_sampler import per_rank_sizes
from vicc_ray.training.distributed.collectives import all_reduce_sum_, world_size
from vicc_ray.training.distributed.global_gradient import backward
from vicc_ray.training.distributed.local_batch_norm import average_running_statistics
from vicc_ray.training.model_setup import prepare_network
from vicc_ray.training.optim.build import build_classifier_optimizer
from vicc_ray.training.precision import configure_backends, mixed_precision
from vicc_ray.training.tasks.base import Batch
from vicc_ray.utils.to_device import to_device
from vicc_ray.video.flow import FlowUnit


class ClassifierTrainer:
    """:class:`~vicc_ray.training.tasks.base.Trainer` of linear probes and fine-tuning.

    Args:
        encoder: encoder with initial weights.
        labels: int64 [N], class of each video, by the sampler's index.
        classes: K.
        flow_unit: unit of the batches' flow; that of ``config.prepare`` by default.

    Raises:
        UserError: there are more workers than samples in a step.
    """

    last_embeddings: Tensor | None = None

    def __init__(
        self,
        config: Config,
        device: torch.device,
        encoder: Encoder,
        labels: Tensor,
        classes: int,
        flow_unit: FlowUnit | None = None,
    ) -> None:
        self.config, self.device, self.settings = config, device, config.classify
        self.stream: Stream = self.settings.stream
        convention = InputConvention.of(self.stream, config.model)
        self.to_input = ClipInput(convention, flow_unit or FlowUnit.of(config.prepare))
        self.rates = self.settings.rates
        self.labels, self.classes = labels, classes
        self.frozen = self.settings.mode == "probe"
        self.sizes = per_rank_sizes(self.settings.global_batch_size, world_size())
        self.mixed = mixed_precision(config.train, device)
        configure_backends(config.train, device)
        torch.manual_seed(config.seed)
        self.network = Classifier(encoder, classes, self.frozen)
        prepare_network(self.network, encoder, config.train, device)

    def start_phase(self, phase: Phase) -> None:
        """Start the only phase."""
        self.phase = phase
        self.network.train()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        parts: list[tuple[nn.Module, float]] = [(self.network.layers, 1.0)]
        if not self.frozen:
            parts.append((self.network.encoder.backbone, self.settings.backbone_lr_mult))
        self.optimizer = build_classifier_optimizer(parts, self.settings)

    def modules(self) -> dict[str, nn.Module]:
        """Encoder, under its name in pretraining, and classifier layers."""
        return {f"{self.stream}.encoder.": self.network.encoder, "classifier.": self.network.layers}

    def progress_tensors(self) -> dict[str, Tensor]:
        """No further state."""
        return {}

    def load_progress_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """No further state."""

    def step(self, batch: Batch, epoch: float) -> Metrics:
        """One optimization step on this worker's slice of a global batch.

        Args:
            batch: rgb uint8 [b, 1, T, S, S, 3] and appearance [b, 1, P], or flow uint8 [b, 1, T, S, S, 2]; videos and
                epochs int64 [b].
            epoch: fractional.

        Returns:
            metrics, equal on all workers; tensors stay on the device, so that the host does not wait.
        """
        steps = sum(epoch >= milestone for milestone in self.settings.lr_steps)
        rate = learning_rate(self.rates, self.phase, epoch) * 0.1**steps
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_mult"]
        labels = to_device(self.labels[batch["videos"]], self.device)
        scores = self._scores(batch)
        loss, norm = backward(functional.cross_entropy(scores, labels), self.sizes, self.optimizer, self.parameters)
        self.optimizer.step()
        if self.config.train.batch_norm == "local":
            average_running_statistics(self.network)
        hits = (scores.detach().argmax(dim=1) == labels).float().sum()
        all_reduce_sum_([hits])
        return {
            **{"loss": loss, "learning_rate": rate, "gradient_norm": norm},
            **{"top1": hits / self.settings.global_batch_size, "chance_loss": math.log(self.classes)},
        }

    def _scores(self, batch: Batch) -> Tensor:
        layout = torch.channels_last_3d if self.config.train.channels_last else torch.contiguous_format
        with torch.autocast(self.device.type, torch.bfloat16) if self.mixed else nullcontext():
            scores: Tensor = self.network(
                self._input(batch).contiguous(memory_format=layout), self._dropout_mask(batch)
            )
        return scores

    def _input(self, batch: Batch) -> Tensor:
        clips = to_device(batch[self.stream], self.device).flatten(0, 1)
        colored = self.stream == "rgb" or self.config.clip.color_flow
        return self.to_input(clips, batch["appearance"].flatten(0, 1) if colored else None)

    def _dropout_mask(self, batch: Batch) -> Tensor | None:
        """Dropout mask [b, F] of fine-tuning, drawn by (seed, epoch, video) like the clip.

        So it depends neither on the number of workers nor on restarts.
        """
        dropout = self.settings.dropout
        if self.frozen or not dropout:
            return None
        width = self.network.encoder.backbone.features
        samples = zip(batch["epochs"].tolist(), batch["videos"].tolist(), strict=True)
        draws = [np.random.default_rng([self.config.seed, *sample]).random(width, np.float32) for sample in samples]
        mask = torch.from_numpy(np.stack(draws) >= dropout).float() / (1 - dropout)
        return to_device(mask, self.device)
