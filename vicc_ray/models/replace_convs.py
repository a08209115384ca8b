"""Replacement of a network's convolutions by subclasses of Conv3d; the state dict stays the same."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_convs(module: nn.Module, replacement: Callable[[nn.Conv3d], type[nn.Conv3d] | None]) -> nn.Module:
    """Replace each Conv3d in ``module`` by the class that ``replacement`` returns for it; None keeps it."""
    for name, child in module.named_children():
        cls = replacement(child) if isinstance(child, nn.Conv3d) else None
        if isinstance(child, nn.Conv3d) and cls is not None and type(child) is not cls:
            setattr(module, name, _convert(cls, child))
        else:
            replace_convs(child, replacement)
    return module


def _convert(cls: type[nn.Conv3d], conv: nn.Conv3d) -> nn.Conv3d:
    """An instance of ``cls`` that shares the parameters of ``conv``."""
    converted = cls(
        *(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding),  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    converted.weight, converted.bias = conv.weight, conv.bias
    return converted
