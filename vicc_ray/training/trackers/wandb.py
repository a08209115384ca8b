"""A run of Weights & Biases: kept in RUN/wandb for `wandb sync`, or sent at once where WANDB_MODE is online."""

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
    """A run that goes on keeps its W&B run; parts that were made offline are put together by `wandb sync --append`."""

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
        # W&B's own counter must grow from call to call and from one part of a run to the next, but figures of held-out
        # videos come late. So the step is a value of its own; the counter is the step, or the next one that is free.
        self._row = max(self._row + 1, step)
        self._run.log({**values, STEP: step}, step=self._row)

    def close(self) -> None:
        """Write the rest."""
        self._run.finish()
