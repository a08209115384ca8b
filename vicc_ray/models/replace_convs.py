"""A network some of whose convolutions are computed in another way: the same layers' names, weights and output."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_convs(module: nn.Module, kind_of: Callable[[nn.Conv3d], type[nn.Conv3d] | None]) -> nn.Module:
    """Make the Conv3ds inside ``module`` of the kinds that ``kind_of`` names; None leaves one as it is."""
    for name, child in module.named_children():
        kind = kind_of(child) if isinstance(child, nn.Conv3d) else None
        if isinstance(child, nn.Conv3d) and kind is not None and type(child) is not kind:
            setattr(module, name, _as(kind, child))
        else:
            replace_convs(child, kind_of)
    return module


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
