"""Networks prepared for inference: batch norms fused into convolutions, weights in the layout that is fastest."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.utils.malloc import keep_freed_memory

M = TypeVar("M", bound=nn.Module)


def optimize_for_inference(network: M, device: torch.device) -> M:
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


def fuse_batch_norms(network: M) -> M:
    """A copy of a network in eval mode that computes the same, but for rounding, with a pass over memory less a norm.

    The statistics of batch norm are fixed numbers there, so its scale and shift go into the convolution's weights.

    Raises:
        ValueError: the network is in training mode.
    """
    if network.training:
        raise ValueError("batch norm can be folded in eval mode only: call .eval() first")
    network = copy.deepcopy(network)
    for parent in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for (name, _), (after, norm) in pairwise(list(parent.named_children())):
            owner, last = _last_of(parent, name)
            conv = getattr(owner, last)
            if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
                setattr(owner, last, fuse_conv_bn_eval(conv, norm))
                setattr(parent, after, nn.Identity())
    return network


def _last_of(owner: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layer that computes the output of the one called ``name``: its last, where that is a sequence itself."""
    layer = getattr(owner, name)
    while isinstance(layer, nn.Sequential) and len(layer):
        owner, name = layer, list(dict(layer.named_children()))[-1]
        layer = getattr(owner, name)
    return owner, name
