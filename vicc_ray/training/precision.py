"""Numeric precision and kernel selection on the training device."""

from __future__ import annotations

import os

import torch

from vicc_ray.config import TrainConfig
from vicc_ray.utils.malloc import keep_freed_memory


def configure_backends(train: TrainConfig, device: torch.device) -> None:
    """Select torch's kernels for this process: deterministic ones, or the fastest for constant shapes."""
    torch.use_deterministic_algorithms(train.deterministic, warn_only=True)
    if train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS splits sums by available memory
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = train.deterministic
        torch.backends.cudnn.benchmark = not train.deterministic
    else:
        keep_freed_memory()


def mixed_precision(train: TrainConfig, device: torch.device) -> bool:
    """Whether networks compute in bf16."""
    if train.precision != "auto":
        return train.precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
