"""View embedder: from a batch's clips to the embeddings of all views of a phase.

V views (two clips by the trained encoder, then two by the frozen one), b samples of this worker, D embedding.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from vicc_ray.config import Config, Stream
from vicc_ray.models.encoder import Encoder
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.runs.schedule import STREAMS
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
        self.train, self.device = settings.train, device
        self.stream, self.encoder, self.frozen_encoder = stream, encoder, frozen_encoder
        self.to_input = {s: ClipInput(InputConvention.of(s, settings.model), flow_unit) for s in STREAMS}
        self.color_flow = settings.clip.color_flow
        self.mixed = mixed_precision(settings.train, device)

    def __call__(self, batch: Batch) -> Tensor:
        """Unit-norm embeddings [V, b, D], with gradient in those of the trained encoder."""
        x = self._input(batch, self.stream)
        views = [self._embed(self.encoder, x)]
        if self.frozen_encoder is not None:
            # Inference mode skips autograd's bookkeeping; torch.cat copies the result into a normal tensor.
            with torch.inference_mode():
                other, network = self.frozen_encoder
                views.append(self._embed(network, x if other == self.stream else self._input(batch, other)))
        return torch.cat(views)

    def _input(self, batch: Batch, stream: Stream) -> Tensor:
        """Encoder input [2 b, 3, T, S, S]: the first clips of all samples, then the second clips."""
        clips = to_device(batch[stream], self.device).transpose(0, 1).flatten(0, 1)
        appearance = batch["appearance"].transpose(0, 1).flatten(0, 1) if stream == "rgb" or self.color_flow else None
        return self.to_input[stream](clips, appearance)

    def _embed(self, network: Encoder, x: Tensor) -> Tensor:
        """Embeddings [2, b, D] in fp32 of both clips, in one forward pass."""
        layout = torch.channels_last_3d if self.train.channels_last else torch.contiguous_format
        with torch.autocast(self.device.type, torch.bfloat16) if self.mixed else nullcontext():
            z = network(x.contiguous(memory_format=layout))
        return z.float().unflatten(0, (2, -1))
