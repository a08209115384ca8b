"""Networks that are only looked through, as they are fastest."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.fuse_batch_norms import fuse_batch_norms
from vicc_ray.utils.malloc import keep_freed_memory

M = TypeVar("M", bound=nn.Module)


def for_inference(network: M, device: torch.device) -> M:
    """A copy on ``device`` that computes the same, but for rounding, and needs no gradients.

    Its weights are no longer those of ``network``: batch norms become part of convolutions
    (:func:`fuse_batch_norms`). On a CPU this process keeps freed memory from then on (:func:`keep_freed_memory`).

    Raises:
        ValueError: the network is in training mode.
    """
    network = fuse_batch_norms(network).requires_grad_(False).to(device).to(memory_format=torch.channels_last_3d)
    if device.type == "cpu":
        keep_freed_memory()
        optimize_for_cpu(network)
    return network
