"""Weights & Biases tracker: offline in RUN/wandb for `wandb sync`, or live where WANDB_MODE is online."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import wandb

from vicc_ray.config import Config
from vicc_ray.training.trackers.run_id import persistent_run_id

PROJECT = "vicc-ray"
STEP = "step"


class WandB:
    """W&B tracker. A resumed run continues its W&B run; `wandb sync --append` joins offline parts."""

    def __init__(self, run: Path, config: Config, resumed_at: int) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=persistent_run_id(run, "wandb", lambda: uuid.uuid4().hex[:8]),
            name=config.name,
            dir=str(run),
            config=config.model_dump(mode="json"),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric=STEP)
        self._row = -1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`vicc_ray.training.trackers.async_tracker.Tracker`."""
        # W&B's own counter must increase with every call and across restarts, but validation metrics arrive late. So
        # the step is a metric of its own, and the counter is the step or the next free number.
        self._row = max(self._row + 1, step)
        self._run.log({**values, STEP: step}, step=self._row)

    def close(self) -> None:
        """Flush and finish the W&B run."""
        self._run.finish()
