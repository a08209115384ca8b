"""Less memory for more time: parts of a network keep only their input and compute the rest again when it is needed.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(network: nn.Module) -> None:
    """Make each part of ``network`` forget its activations until the backward pass; results stay the same.

    Parts are the children of the first module, from the outside, that has more than one.
    """
    children = list(network.children())
    while len(children) == 1:
        children = list(children[0].children())
    for part in children:
        part.forward = _computed_again(part)


def _computed_again(part: nn.Module) -> Callable[[Tensor], Tensor]:
    forward = part.forward
    norms = [m for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def call(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(x)
        y: Tensor = checkpoint(forward, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _uncounted(norms)))
        return y

    return call


@contextmanager
def _uncounted(norms: list[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """The second time, running statistics go into copies, so that samples count once."""
    before = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, before, strict=True):
        norm._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            norm._buffers.update(buffers)
