"""The features of a video: of each window, and their mean. n windows, F features."""

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
    """What is known of a video once the network has seen it.

    Attributes:
        windows: float32 [n, F].
        spans: float32 [n, 2], begin and end of each window in seconds.
        seconds: how long the video is.
        film: its moving thumbnail (:mod:`vicc_ray.search.thumbnail`).
    """

    windows: Floats
    spans: Floats
    seconds: float
    film: bytes

    @property
    def mean(self) -> Floats:
        """The feature of the whole video, float32 [F]."""
        return np.asarray(self.windows.mean(axis=0), np.float32)


@torch.inference_mode()
def embed_pieces(encoder: PretrainedEncoder, pieces: Iterable[WindowChunk], batch: int) -> VideoFeatures:
    """The features of the pieces of one video; ``batch`` windows are embedded at once.

    Raises:
        VideoError: as the pieces raise it, or where the network makes no numbers of them that an index can hold.
    """
    windows: list[Floats] = []
    spans: list[Floats] = []
    film, seconds = b"", 0.0
    for piece in pieces:
        for start in range(0, len(piece.spans), batch):
            windows.append(encoder(torch.from_numpy(piece.clips(start, start + batch))).cpu().numpy())
        spans.append(piece.spans)
        film, seconds = film or piece.film, piece.seconds
    features = np.concatenate(windows)
    if not (np.abs(features) <= np.finfo(np.float16).max).all():  # nor is it for what is no number
        raise VideoError("the network makes features of it that are no numbers, or too large")
    return VideoFeatures(features, np.concatenate(spans), seconds, film)
