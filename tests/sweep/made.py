"""Sweeps of nothing but numbers: what would be trained is a formula."""

from __future__ import annotations

from typing import Any

from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.trial_config import Sweep

SEARCH: dict[str, Any] = {
    "stage2.epsilon": {"low": 0.01, "high": 1.0, "log": True},
    "stage2.prototypes": {"choice": [8, 12, 20]},
    "stage2.queue": {"choice": [0, 64]},
    "stage2.queue_start": {"low": 0, "high": 5, "when": {"stage2.queue": {"above": 0}}},
}


def sweep_of(**changes: Any) -> Sweep:
    """Of the demo, with two conditions; ``changes`` update its settings."""
    return Sweep(SweepConfig.model_validate({"name": "made", "search": SEARCH, **changes}))
