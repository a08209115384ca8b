"""One shard of a clip store: its videos are decoded, get optical flow, and are written row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.clip_store.schema import VideoMetadata, shard_path
from vicc_ray.clip_store.writer import ShardWriter, encode_video, open_shard_writer
from vicc_ray.config import PrepareConfig
from vicc_ray.datasets.locations import Location
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.sharding.task import write_shard
from vicc_ray.sharding.truncated_videos import write_truncated
from vicc_ray.utils.fs import content_digest
from vicc_ray.video.decode import FrameStream, open_frames, timeout_reason
from vicc_ray.video.flow import items_with_flow, quantize, resize_flow

MIN_TRUNCATED_FRAMES = 100
"""Frames a video must have when its time limit is over to be stored truncated; with fewer it is a failure."""
MAX_FLOW_SIDE = 1080
"""Largest short side of the frames that flow is computed on; larger frames are scaled down first, since TV-L1 takes
0.3 KB of memory a pixel."""


def build_shard(
    store: Path, shard: int, videos: Sequence[tuple[Location, PlannedVideo]], settings: PrepareConfig
) -> int:
    """Write one shard of a clip store; return the number of failures. See :func:`write_shard` for the errors."""
    cv2.setNumThreads(1)
    truncated: dict[str, int] = {}

    def row(path: Path, video: PlannedVideo) -> dict[str, Any]:
        row, is_truncated = _row(path, video, settings)
        if is_truncated:
            truncated[video.id] = row["frames"]
        return row

    return write_shard(store, shard, videos, settings, _writing(store, shard, truncated, settings), row)


@contextmanager
def _writing(store: Path, shard: int, truncated: Mapping[str, int], settings: PrepareConfig) -> Iterator[ShardWriter]:
    """Open the shard's writer; the list of truncated videos is written before the shard appears."""
    with open_shard_writer(shard_path(store, shard)) as writer:
        yield writer
        write_truncated(store, shard, truncated, timeout_reason(settings.timeout_s))


def _row(path: Path, video: PlannedVideo, settings: PrepareConfig) -> tuple[dict[str, Any], bool]:
    """Row of a video, and whether it is truncated."""
    with open_frames(
        path,
        short_side=settings.short_side,
        max_frames=settings.max_frames,
        timeout_s=settings.timeout_s,
        grid=settings.grid,
        enough=MIN_TRUNCATED_FRAMES,
    ) as stream:
        metadata = VideoMetadata(video.id, video.label, video.source, video.split, content_digest(path))
        row = encode_video(metadata, stream.fps, stored_frames(stream, settings), settings)
        return {**row, "fps": stream.fps}, stream.truncated  # fps is measured over all frames


def stored_frames(
    stream: FrameStream, settings: PrepareConfig
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Frames of a video, uint8 [H, W, 3], each with its quantized flow, uint8 [H / s, W / s, 2]."""
    at_source_size = settings.flow_size == "source"
    pairs = stream.frames_at_source_size(MAX_FLOW_SIDE) if at_source_size else ((f, f) for f in stream.frames)
    for frame, flow in items_with_flow(pairs, settings.flow_method):
        height, width = frame.shape[:2]
        size = height // settings.flow_downscale, width // settings.flow_downscale
        unit = (height, width) if settings.flow_unit == "stored" else stream.source_size
        yield frame, quantize(resize_flow(flow, size, unit), settings.flow_bound)
