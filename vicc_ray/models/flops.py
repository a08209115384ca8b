"""Cost of a forward pass in GFLOPs."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from vicc_ray.config import ModelConfig
from vicc_ray.models.encoder import IN_CHANNELS, build_encoder


def clip_gflops(model: ModelConfig, frames: int, size: int) -> float:
    """GFLOPs (10^9 multiplications and additions) for the features of one clip of ``frames`` x ``size`` x ``size``.

    Counted on meta tensors, so nothing is computed.
    """
    with torch.device("meta"):
        encoder, clip = build_encoder(model).eval(), torch.empty(1, IN_CHANNELS, frames, size, size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder.features(clip)
    return float(counter.get_total_flops()) / 1e9
