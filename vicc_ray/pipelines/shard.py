"""The videos of one shard of a clip store, decoded, with flow, written row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from vicc_ray.config import PrepareConfig
from vicc_ray.files import content_digest
from vicc_ray.pipelines.part import write_part
from vicc_ray.pipelines.plan import PlannedVideo
from vicc_ray.video.decode import open_frames
from vicc_ray.video.flow import quantise, shrink, with_flow
from vicc_ray.video.sources.places import Place
from vicc_ray.video.store import About, encode_video, shard_path, shard_writer


def prepare_shard(
    store: Path, shard: int, videos: Sequence[tuple[Place, PlannedVideo]], settings: PrepareConfig
) -> int:
    """Write one shard; see :func:`write_part`, also for the result and the errors."""
    cv2.setNumThreads(1)

    def row(path: Path, video: PlannedVideo) -> dict[str, Any]:
        return _row(path, video, settings)

    return write_part(store, shard, videos, settings, shard_writer(shard_path(store, shard)), row)


def _row(path: Path, video: PlannedVideo, settings: PrepareConfig) -> dict[str, Any]:
    with open_frames(
        path,
        short_side=settings.short_side,
        max_frames=settings.max_frames,
        time_limit_s=settings.time_limit_s,
        grid=settings.grid,
    ) as stream:
        about = About(video.id, video.label, video.source, video.split, content_digest(path))
        frames_and_flow = (
            (frame, quantise(shrink(flow, settings.flow_scale), settings.flow_bound))
            for frame, flow in with_flow(stream.frames, settings.flow)
        )
        return encode_video(about, stream.fps, frames_and_flow, settings)
