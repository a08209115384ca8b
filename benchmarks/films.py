"""Inputs of the ingest benchmarks: long videos, and clip stores of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import STORE_FILE, VideoMetadata, shard_path, write_store_file
from vicc_ray.clip_store.writer import encode_video, open_shard_writer
from vicc_ray.config import PrepareConfig
from vicc_ray.datasets import list_videos
from vicc_ray.video.decode import decode_video
from vicc_ray.video.flow import frames_with_flow, quantize, resize_flow

BOUND = 20.0
"""Bound of the quantized flow, in pixels."""


def choose(folder: Path, count: int) -> list[Path]:
    """Videos evenly spaced in a local folder."""
    items = list_videos(folder).items
    return [Path(str(items[i].location)) for i in np.linspace(0, len(items) - 1, count).astype(int)]


def long_film(path: Path, side: int, frames: int, grid: int = 2) -> np.ndarray:
    """Video as uint8 [T, H, W, 3] with T = ``frames``, repeated forward and backward as needed."""
    video = decode_video(path, short_side=side, max_frames=frames, timeout_s=120, grid=grid)
    cycle = np.concatenate([video.frames, video.frames[-2:0:-1]])
    return cycle[np.arange(frames) % len(cycle)]


def make_store(path: Path, videos: list[Path], side: int, frames: int, flow_scale: int = 2) -> ClipStore:
    """Clip store of long videos with the default settings; an existing one is reused."""
    settings = PrepareConfig.model_validate({"short_side": side, "flow_downscale": flow_scale})
    if not (path / STORE_FILE).exists():
        path.mkdir(parents=True, exist_ok=True)
        with open_shard_writer(shard_path(path, 0)) as writer:
            for n, file in enumerate(videos):
                pairs = _pairs(long_film(file, side, frames, settings.grid), settings)
                writer.write(
                    encode_video(VideoMetadata(f"{n:04d}", source=f"{n:04d}", split="train"), 25.0, pairs, settings)
                )
        write_store_file(path, settings, 1)
    return ClipStore(path)


def _pairs(film: np.ndarray, settings: PrepareConfig) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    height, width = film.shape[1:3]
    size = height // settings.flow_downscale, width // settings.flow_downscale
    for frame, flow in frames_with_flow(film, settings.flow_method):
        yield frame, quantize(resize_flow(flow, size, (height, width)), BOUND)
