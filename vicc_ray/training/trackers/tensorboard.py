"""TensorBoard tracker: event files in RUN/tensorboard, shown by ``tensorboard --logdir RUN/tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from vicc_ray.config import Config

FLUSH_S = 10


class TensorBoard:
    """TensorBoard tracker. A resumed run purges points after ``resumed_at``, so that each step appears once.

    Args:
        resumed_at: step that the run resumes from; 0 at its start.
    """

    def __init__(self, run: Path, config: Config, resumed_at: int) -> None:
        self._writer = SummaryWriter(
            str(run / "tensorboard"),
            purge_step=resumed_at + 1,
            flush_secs=FLUSH_S,
            filename_suffix=f".{resumed_at:010d}",  # else two starts within a second would share a file
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`vicc_ray.training.trackers.async_tracker.Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
