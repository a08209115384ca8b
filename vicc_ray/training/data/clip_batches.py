"""Clip batches of a phase, by global step. Imports no torch, which takes longer to import than a batch to build.

b samples of a worker, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.training_clips import CHANNELS, make_samples
from vicc_ray.config import ClipConfig, Stream
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler, per_rank_sizes

MICROBATCH_BYTES = 32 << 20
"""Largest size of a microbatch with several samples; microbatches let many processes work on one batch."""


@dataclass(frozen=True)
class ClipBatchBuilder:
    """Builder of one worker's batches, in microbatches."""

    store: ClipStore
    entries: Sequence[VideoRecord]
    sampler: GlobalBatchSampler
    clip: ClipConfig
    streams: tuple[Stream, ...]
    rank: int
    workers: int
    microbatch_bytes: int = MICROBATCH_BYTES
    views: int = 2
    """Clips per video."""
    first_step: int = 0
    """First step of the phase, which has one global batch."""

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """Row with ``step`` and ``microbatch`` -> clips and parameters of its samples, see :func:`make_samples`.

        The result includes ``videos`` and ``epochs``, int64 [b]: the index of each sample's video, and its epoch.
        """
        cv2.setNumThreads(1)
        slices = self.sampler.rank_batch(int(row["step"]), self.rank, self.workers)
        videos, epochs = (np.array_split(indices, self.microbatches)[int(row["microbatch"])] for indices in slices)
        entries = [self.entries[i] for i in videos]
        samples = make_samples(
            self.store, entries, self.clip, self.streams, self.sampler.seed, epochs.tolist(), self.views
        )
        return {**samples, "videos": videos, "epochs": epochs}

    @property
    def samples(self) -> int:
        """Samples in one batch of this worker, b."""
        return per_rank_sizes(self.sampler.batch_at(self.first_step), self.workers)[self.rank]

    @property
    def microbatches(self) -> int:
        """Number of microbatches of a batch: the fewest that fit, with sizes that differ by at most one sample."""
        samples_per_microbatch = max(1, self.microbatch_bytes // sample_bytes(self.clip, self.streams, self.views))
        return -(-self.samples // samples_per_microbatch)

    @property
    def batch_bytes(self) -> int:
        """Bytes of one batch of this worker."""
        return self.samples * sample_bytes(self.clip, self.streams, self.views)


def sample_bytes(clip: ClipConfig, streams: tuple[Stream, ...], views: int = 2) -> int:
    """Bytes of the clips of one sample."""
    return views * clip.frames * clip.size**2 * sum(CHANNELS[stream] for stream in streams)
