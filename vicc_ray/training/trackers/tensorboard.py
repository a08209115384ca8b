"""Event files for TensorBoard, in RUN/tensorboard: ``tensorboard --logdir RUN/tensorboard`` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from vicc_ray.config import Config

FLUSH_S = 10


class TensorBoard:
    """A run that goes on takes back what was drawn after ``resumed_at``: TensorBoard then shows each step once.

    Args:
        resumed_at: step that the run goes on from; 0 at its start.
    """

    def __init__(self, run: Path, config: Config, resumed_at: int) -> None:
        self._writer = SummaryWriter(
            str(run / "tensorboard"),
            purge_step=resumed_at + 1,
            flush_secs=FLUSH_S,
            filename_suffix=f".{resumed_at:010d}",  # without it, two starts in one second would share a file
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`vicc_ray.training.trackers.async_tracker.Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the rest."""
        self._writer.close()
