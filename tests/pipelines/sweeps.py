"""Sweep that takes minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.pipelines.runs import settings
from vicc_ray.config.loader import dump_config

EPOCHS, SCORED = 24, [8, 16, 24]
DIVERGES = 1e30
"""Learning rate that makes training diverge."""


def sweep_file(folder: Path, **changes: Any) -> Path:
    """Write a sweep over two learning rates, of which one diverges."""
    recipe, file = folder / "recipe.yaml", folder / "sweep.yaml"
    recipe.write_text(dump_config(settings(train={"checkpoint_every_steps": 2, "validate_every_epochs": 8})))
    content = {
        **{"name": "rates", "recipe": str(recipe), "sampler": "grid", "validation_fraction": 0.25},
        **{"search_space": {"stage2.learning_rate": {"choices": [DIVERGES, 0.05]}}},
        **{"overrides": {"schedule.epochs_per_phase": EPOCHS, "schedule.stage2_cosine_epochs": 0}},
        **{"budget": {"epochs": EPOCHS}, "prune": {"method": "none"}, "final_eval": {"num_seeds": 1}},
    }
    file.write_text(yaml.safe_dump({**content, **changes}))
    return file
