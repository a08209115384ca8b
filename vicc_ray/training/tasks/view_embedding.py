"""View embedder: from a batch's clips to the embeddings of all views of a phase.

V views (two clips by the trained encoder, then two by the frozen one), b samples of this worker, D embedding.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from vicc_ray.config import Config, Stream
from vicc_ray.models.encoder import Encoder
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.runs.schedule import STREAMS
from vicc_ray.training.data.batch_sampler import per_rank_sizes
from vicc_ray.training.distributed.collectives import world_size
from vicc_ray.training.distributed.permute_samples import draw_permutation, permute_samples
from vicc_ray.training.precision import mixed_precision
from vicc_ray.training.tasks.base import Batch
from vicc_ray.utils.to_device import to_device
from vicc_ray.video.flow import FlowUnit


class ViewEmbedder:
    """Embeds the views of a phase's steps.

    Args:
        settings: settings of the phase's stage.
        stream: the trained stream.
        encoder: its encoder, on ``device``.
        frozen_encoder: second encoder with its stream, without gradient; None if there is none.
        flow_unit: unit of the batches' flow.
    """

    def __init__(
        self,
        settings: Config,
        device: torch.device,
        stream: Stream,
        encoder: Encoder,
        frozen_encoder: tuple[Stream, Encoder] | None,
        flow_unit: FlowUnit,
    ) -> None:
        self.train, self.method, self.seed, self.device = settings.train, settings.method, settings.seed, device
        self.stream, self.encoder, self.frozen_encoder = stream, encoder, frozen_encoder
        self.to_input = {s: ClipInput(InputConvention.of(s, settings.model), flow_unit) for s in STREAMS}
        self.color_flow = settings.clip.color_flow
        self.mixed = mixed_precision(settings.train, device)
        self.sizes = per_rank_sizes(settings.train.global_batch_size, world_size())

    def __call__(self, batch: Batch, epoch: float) -> Tensor:
        """Unit-norm embeddings [V, b, D], with gradient in those of the trained encoder (``method.gradient_clips``).

        Args:
            batch: see :meth:`vicc_ray.training.tasks.pretrainer.Pretrainer.step`.
            epoch: fractional epoch at which the step starts.
        """
        x = self._input(batch, self.stream)
        views = [self._embed_trained(x, epoch)]
        if self.frozen_encoder is not None:
            # Inference mode skips autograd's bookkeeping; torch.cat copies the result into a normal tensor.
            with torch.inference_mode():
                other, network = self.frozen_encoder
                views.append(self._embed(network, x if other == self.stream else self._input(batch, other)))
        return torch.cat(views)

    def _embed_trained(self, x: Tensor, epoch: float) -> Tensor:
        """Embeddings [2, b, D] of both clips by the trained encoder."""
        if self.method.gradient_clips == "both":
            return self._forward(x)
        if self.train.batch_norm == "sync" or len(self.sizes) == 1:
            z = self._forward(x)
            return torch.stack([z[0], z[1].detach()])
        # Workers exchange network input, not uint8 clips: the augmentation takes its parameters from the host, which
        # would have to wait for those of other workers.
        order = draw_permutation(self.seed, epoch, sum(self.sizes))
        first, second = x.chunk(2)
        z = self._forward(torch.cat([first, permute_samples(second, order, self.sizes)]))
        return torch.stack([z[0], permute_samples(z[1], np.argsort(order), self.sizes)])

    def _forward(self, x: Tensor) -> Tensor:
        """Embeddings [2, b, D] by the trained encoder, of both clips in one forward pass or in two."""
        if self.method.clip_forward == "joint":
            return self._embed(self.encoder, x)
        first, second = x.chunk(2)
        z_first = self._embed(self.encoder, first, clips=1)
        with torch.set_grad_enabled(self.method.gradient_clips == "both"):
            z_second = self._embed(self.encoder, second, clips=1)
        return torch.cat([z_first, z_second])

    def _input(self, batch: Batch, stream: Stream) -> Tensor:
        """Encoder input [2 b, 3, T, S, S]: the first clips of all samples, then the second clips."""
        clips = to_device(batch[stream], self.device).transpose(0, 1).flatten(0, 1)
        appearance = batch["appearance"].transpose(0, 1).flatten(0, 1) if stream == "rgb" or self.color_flow else None
        return self.to_input[stream](clips, appearance)

    def _embed(self, network: Encoder, x: Tensor, clips: int = 2) -> Tensor:
        """Embeddings [clips, b, D] in fp32 of clips [clips b, 3, T, S, S], in one forward pass."""
        layout = torch.channels_last_3d if self.train.channels_last else torch.contiguous_format
        with torch.autocast(self.device.type, torch.bfloat16) if self.mixed else nullcontext():
            z = network(x.contiguous(memory_format=layout))
        return z.float().unflatten(0, (clips, -1))
