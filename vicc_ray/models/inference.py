"""Networks optimized for inference: fused batch norms, frozen weights, channels-last memory, fast CPU convolutions."""

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
    """Copy of a network on ``device`` without gradients; its output is equal up to rounding.

    The copy's weights differ from those of ``network``, because batch norms are fused (:func:`fuse_batch_norms`). On a
    CPU the process also keeps freed memory from then on (:func:`keep_freed_memory`).

    Raises:
        ValueError: the network is in training mode.
    """
    network = fuse_batch_norms(network).requires_grad_(False).to(device).to(memory_format=torch.channels_last_3d)
    if device.type == "cpu":
        keep_freed_memory()
        optimize_for_cpu(network)
    return network


def fuse_batch_norms(network: M) -> M:
    """Copy of a network in eval mode whose batch norms are part of the convolutions before them.

    Running statistics are constants in eval mode, so scale and shift fit into the convolution's weights. That saves a
    pass over memory for each norm. The output is equal up to rounding.

    Raises:
        ValueError: the network is in training mode.
    """
    if network.training:
        raise ValueError("the network is in training mode; batch norms can be fused in eval mode only: call .eval()")
    network = copy.deepcopy(network)
    for parent in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for (name, _), (after, norm) in pairwise(list(parent.named_children())):
            owner, last = _output_layer(parent, name)
            conv = getattr(owner, last)
            if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
                setattr(owner, last, fuse_conv_bn_eval(conv, norm))
                setattr(parent, after, nn.Identity())
    return network


def _output_layer(owner: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Parent and name of the layer that computes the output of child ``name``; of a Sequential, its last layer."""
    layer = getattr(owner, name)
    while isinstance(layer, nn.Sequential) and len(layer):
        owner, name = layer, list(dict(layer.named_children()))[-1]
        layer = getattr(owner, name)
    return owner, name
