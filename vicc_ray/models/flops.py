"""How much a network computes."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from vicc_ray.config import ModelConfig
from vicc_ray.models.encoder import IN_CHANNELS, build_encoder


def clip_gflops(model: ModelConfig, frames: int, size: int) -> float:
    """Billions of multiplications and additions for the features of one clip of ``frames`` of ``size`` x ``size``.

    Nothing is computed for it: the tensors have shapes only.
    """
    with torch.device("meta"):
        encoder, clip = build_encoder(model).eval(), torch.empty(1, IN_CHANNELS, frames, size, size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder.features(clip)
    return float(counter.get_total_flops()) / 1e9
