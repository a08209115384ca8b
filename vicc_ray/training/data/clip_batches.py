"""The batches of a phase by their global step. Needs no torch, since importing it takes longer than making a batch.

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
"""A batch is made in parts of at most this size, or of one sample: many processes can then work on one batch."""


@dataclass(frozen=True)
class ClipBatchBuilder:
    """Makes the batches of one worker, in parts."""

    store: ClipStore
    entries: Sequence[VideoRecord]
    sampler: GlobalBatchSampler
    clip: ClipConfig
    streams: tuple[Stream, ...]
    rank: int
    workers: int
    microbatch_bytes: int = MICROBATCH_BYTES
    views: int = 2
    """Clips of each video."""

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """Row with ``step`` and ``part`` -> clips and parameters of these samples, see :func:`make_samples`.

        With them come ``videos`` and ``epochs``, int64 [b]: which entry each is a sample of, and in which epoch.
        """
        cv2.setNumThreads(1)
        shares = self.sampler.rank_batch(int(row["step"]), self.rank, self.workers)
        videos, epochs = (np.array_split(share, self.microbatches)[int(row["microbatch"])] for share in shares)
        entries = [self.entries[i] for i in videos]
        made = make_samples(
            self.store, entries, self.clip, self.streams, self.sampler.seed, epochs.tolist(), self.views
        )
        return {**made, "videos": videos, "epochs": epochs}

    @property
    def samples(self) -> int:
        """Samples of one batch of this worker, b."""
        return per_rank_sizes(self.sampler.batch, self.workers)[self.rank]

    @property
    def microbatches(self) -> int:
        """Parts that a batch is made in: the fewest that fit; their sizes differ by one sample at most."""
        in_a_part = max(1, self.microbatch_bytes // sample_bytes(self.clip, self.streams, self.views))
        return -(-self.samples // in_a_part)

    @property
    def batch_bytes(self) -> int:
        """Bytes of one batch of this worker."""
        return self.samples * sample_bytes(self.clip, self.streams, self.views)


def sample_bytes(clip: ClipConfig, streams: tuple[Stream, ...], views: int = 2) -> int:
    """Bytes of the clips of one sample."""
    return views * clip.frames * clip.size**2 * sum(CHANNELS[stream] for stream in streams)
