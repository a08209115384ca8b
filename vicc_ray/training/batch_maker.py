"""The batches of a turn by their number. Needs no torch, since importing it takes longer than making a batch.

b a worker's samples, T frames, S clip side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vicc_ray.config import ClipConfig, Stream
from vicc_ray.training.plan import Plan
from vicc_ray.video.sample import CHANNELS, make_samples
from vicc_ray.video.store import ClipStore, Entry


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of one worker for one global step, counted from the start of the turn's first epoch."""

    store: ClipStore
    entries: list[Entry]
    plan: Plan
    clip: ClipConfig
    streams: tuple[Stream, ...]
    first_epoch: int
    rank: int
    workers: int

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """Row with ``id``, the step -> uint8 clips and parameters of the batch, see :func:`make_samples`."""
        cv2.setNumThreads(1)
        epoch, step = divmod(int(row["id"]), self.plan.epoch_steps)
        epoch += self.first_epoch
        share = self.plan.share(epoch, step, self.rank, self.workers)
        entries = [self.entries[i] for i in share]
        return {**make_samples(self.store, entries, self.clip, self.streams, self.plan.seed, epoch), "videos": share}

    @property
    def batch_bytes(self) -> int:
        """Bytes of one batch of this worker."""
        channels = sum(CHANNELS[stream] for stream in self.streams)
        return self.plan.batch // self.workers * 2 * self.clip.frames * self.clip.size**2 * channels
