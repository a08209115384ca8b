"""Replacement of a network's convolutions by faster ones for CPUs: same state dict, same output."""

from __future__ import annotations

from torch import nn

from vicc_ray.models.cpu_conv.per_frame_conv2d import PerFrameConv3d, supports_per_frame
from vicc_ray.models.cpu_conv.temporal_conv_matmul import TemporalConv3d, supports_temporal
from vicc_ray.models.padded_conv3d import PaddedConv3d, supports_padded
from vicc_ray.models.replace_convs import replace_convs


def optimize_for_cpu(module: nn.Module) -> nn.Module:
    """Replace every Conv3d in ``module`` that has a faster or safer equivalent; parameters are shared."""
    return replace_convs(module, _replacement)


def _replacement(conv: nn.Conv3d) -> type[nn.Conv3d] | None:
    if type(conv) not in (nn.Conv3d, PaddedConv3d):  # already replaced, or a user's subclass
        return None
    if supports_per_frame(conv):
        return PerFrameConv3d
    if supports_temporal(conv):
        return TemporalConv3d
    return PaddedConv3d if supports_padded(conv) else None
