"""Host-to-device copies that do not wait."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on ``device``, copied asynchronously: the host continues while the device still works.

    The source is pinned first, since a copy from pageable memory would block.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
