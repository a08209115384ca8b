"""Model setup for training: memory layout, synchronized batch norm, activation checkpointing, compilation."""

from __future__ import annotations

import torch
from torch import nn

from vicc_ray.config import Config, TrainConfig
from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.training.activation_checkpointing import checkpoint_activations
from vicc_ray.training.distributed.sync_batch_norm import convert_sync_batchnorm


def build_network(config: Config, device: torch.device) -> Encoder:
    """Encoder with fresh weights from torch's global generator, set up by ``config.train``."""
    encoder = build_encoder(config.model)
    prepare_network(encoder, encoder, config.train, device)
    return encoder


def prepare_network(network: nn.Module, encoder: Encoder, train: TrainConfig, device: torch.device) -> None:
    """Set up ``network``, which is or contains ``encoder``, for training, in place."""
    network.to(device)
    if train.channels_last:
        network.to(memory_format=torch.channels_last_3d)
    if device.type == "cpu":
        optimize_for_cpu(network)
    if train.batch_norm == "sync":
        convert_sync_batchnorm(network)
    if train.activation_checkpointing:
        checkpoint_activations(encoder.backbone)
    if train.compile:
        network.compile(dynamic=False)
