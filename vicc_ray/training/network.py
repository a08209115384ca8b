"""A stream's network as it is trained: memory layout, batch norm over all workers, what the backward pass keeps."""

from __future__ import annotations

import torch

from vicc_ray.config import Config
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.planar import make_planar
from vicc_ray.training.activation_checkpointing import checkpoint_activations
from vicc_ray.training.sync_batch_norm import synchronise


def build_network(config: Config, device: torch.device) -> Encoder:
    """A network with fresh weights from torch's global generator, under the settings of ``config.train``."""
    network = build_encoder(config.model).to(device)
    if config.train.channels_last:
        network = network.to(memory_format=torch.channels_last_3d)
    if device.type == "cpu":
        make_planar(network)
    synchronise(network)
    if config.train.activation_checkpointing:
        checkpoint_activations(network.backbone)
    if config.train.compile:
        network.compile(dynamic=False)
    return network
