"""Guard against the convolution backward passes that oneDNN gets wrong on some CPUs; it works on any CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class ShortClipGuard(TorchDispatchMode):
    """Dispatch mode that raises AssertionError instead of running an unsafe backward pass.

    Unsafe is a channels-last convolution with padding over time whose kernel plus stride exceed the input. It corrupts
    memory on some CPUs; see :mod:`vicc_ray.models.padded_conv3d`. Calls inside custom functions are caught too.

    Attributes:
        seen: number of convolution backward passes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten.convolution_backward:
            self.seen += 1
            _, x, weight, _, stride, padding, dilation = args[:7]
            channels_last = not (x.is_contiguous() and weight.is_contiguous())
            if x.dim() == 5 and padding[0] and channels_last and _is_short(x, weight, stride[0], dilation[0]):
                raise AssertionError(
                    f"backward pass of a channels-last convolution with a kernel of {list(weight.shape[2:])}, stride "
                    f"{stride} and padding {padding} on {list(x.shape[2:])} frames, rows and columns"
                )
        return func(*args, **(kwargs or {}))


def _is_short(x: Tensor, weight: Tensor, stride: int, dilation: int) -> bool:
    return x.shape[2] < dilation * (weight.shape[2] - 1) + stride
