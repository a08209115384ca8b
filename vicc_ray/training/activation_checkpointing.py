"""Activation checkpointing: blocks keep only their input and recompute the rest in the backward pass.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(network: nn.Module) -> None:
    """Checkpoint the activations of each block of ``network``, in place; results stay the same.

    Blocks are the children of the outermost module that has more than one.
    """
    children = list(network.children())
    while len(children) == 1:
        children = list(children[0].children())
    for block in children:
        block.forward = _recomputed(block)


def _recomputed(block: nn.Module) -> Callable[[Tensor], Tensor]:
    forward = block.forward
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def call(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(x)
        y: Tensor = checkpoint(
            forward, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_frozen(norms))
        )
        return y

    return call


@contextmanager
def _statistics_frozen(norms: list[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Redirect running statistics into copies during recomputation, so that samples count once."""
    originals = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, originals, strict=True):
        norm._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, originals, strict=True):
            norm._buffers.update(buffers)
