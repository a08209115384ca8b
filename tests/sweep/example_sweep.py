"""Sweeps of nothing but numbers: what would be trained is a formula."""

from __future__ import annotations

from typing import Any

from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.trial_config import Sweep

SEARCH: dict[str, Any] = {
    "stage2.sinkhorn_epsilon": {"low": 0.01, "high": 1.0, "log": True},
    "stage2.num_prototypes": {"choices": [8, 12, 20]},
    "stage2.queue_size": {"choices": [0, 64]},
    "stage2.queue_start_epoch": {"low": 0, "high": 5, "condition": {"stage2.queue_size": {"above": 0}}},
}


def sweep_of(**changes: Any) -> Sweep:
    """Of the demo, with two conditions; ``changes`` update its settings."""
    return Sweep(SweepConfig.model_validate({"name": "made", "search_space": SEARCH, **changes}))
