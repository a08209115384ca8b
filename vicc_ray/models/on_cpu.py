"""A network whose convolutions are computed in the way that suits CPUs: the same layers' names, weights and output."""

from __future__ import annotations

from torch import nn

from vicc_ray.models.planar import PlanarConv3d, can_be_planar
from vicc_ray.models.temporal import TemporalConv3d, can_be_temporal


def for_cpu(module: nn.Module) -> nn.Module:
    """Replace every Conv3d inside ``module`` for which there is a faster one, which shares its parameters."""
    for name, child in module.named_children():
        kind = _faster(child) if isinstance(child, nn.Conv3d) else None
        if isinstance(child, nn.Conv3d) and kind is not None:
            setattr(module, name, _as(kind, child))
        else:
            for_cpu(child)
    return module


def _faster(conv: nn.Conv3d) -> type[nn.Conv3d] | None:
    if type(conv) is not nn.Conv3d:  # it is one already
        return None
    if can_be_planar(conv):
        return PlanarConv3d
    return TemporalConv3d if can_be_temporal(conv) else None


def _as(kind: type[nn.Conv3d], conv: nn.Conv3d) -> nn.Conv3d:
    made = kind(
        *(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding),  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    made.weight, made.bias = conv.weight, conv.bias
    return made
