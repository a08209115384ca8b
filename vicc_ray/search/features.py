"""Features of a video: of each window, and their mean. n windows, F features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vicc_ray.export.pretrained import PretrainedEncoder
from vicc_ray.search.windows import WindowChunk
from vicc_ray.video.containers import VideoError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class VideoFeatures:
    """Features of a video and what a result shows of it.

    Attributes:
        windows: float32 [n, F].
        spans: float32 [n, 2], start and end of each window in seconds.
        seconds: length of the video.
        thumbnail: animated thumbnail (:mod:`vicc_ray.search.thumbnail`).
    """

    windows: Floats
    spans: Floats
    seconds: float
    thumbnail: bytes

    @property
    def mean(self) -> Floats:
        """Mean feature of the video, float32 [F]."""
        return np.asarray(self.windows.mean(axis=0), np.float32)


@torch.inference_mode()
def embed_chunks(encoder: PretrainedEncoder, chunks: Iterable[WindowChunk], batch: int) -> VideoFeatures:
    """Features of the chunks of one video; ``batch`` windows are embedded at once.

    Raises:
        VideoError: from decoding, or because features are not finite in float16, which the index stores.
    """
    windows: list[Floats] = []
    spans: list[Floats] = []
    thumbnail, seconds = b"", 0.0
    for chunk in chunks:
        for start in range(0, len(chunk.spans), batch):
            windows.append(encoder(torch.from_numpy(chunk.clips(start, start + batch))).cpu().numpy())
        spans.append(chunk.spans)
        thumbnail, seconds = thumbnail or chunk.thumbnail, chunk.seconds
    features = np.concatenate(windows)
    if not (np.abs(features) <= np.finfo(np.float16).max).all():  # false for NaN as well
        raise VideoError("its features are not finite, or too large for float16")
    return VideoFeatures(features, np.concatenate(spans), seconds, thumbnail)
