"""Small indexes, made without Ray, from videos or from made-up features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.clip_store.writer import open_shard_writer
from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.datasets import list_videos
from vicc_ray.datasets.locations import size_and_mtime
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.pipelines.inference.index_shard import indexing_spec
from vicc_ray.pipelines.inference.model_actor import ModelActor
from vicc_ray.search.features import VideoFeatures
from vicc_ray.search.index_format import (
    ENCODER_FILE,
    FORMAT,
    Description,
    part_row,
    write_videos,
)
from vicc_ray.search.index_schema import PART_SCHEMA
from vicc_ray.search.video_folder import UNKNOWN
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.sharding.plan import PlannedVideo

CLIP = ClipConfig(frames=4, frame_stride=1, size=32)
CONFIG = Config.model_validate({"evaluate": {"max_windows_per_video": 4, "batch_size": 4}})
SPEC = WindowSpec.of(CLIP, 1.0, CONFIG)


def untrained(seed: int = 0) -> EncoderWeights:
    """A tiny network with random weights."""
    torch.manual_seed(seed)
    model = ModelConfig(backbone="tiny", embed_dim=8)
    return EncoderWeights("rgb", model, CLIP, dict(build_encoder(model).state_dict()))


def describe(folder: Path, weights: EncoderWeights, videos: Path, features: int | None = None) -> None:
    """Write index.json and the network."""
    folder.mkdir(parents=True, exist_ok=True)
    width = features or weights.features
    write_weights(folder / ENCODER_FILE, weights)
    about = {"format": FORMAT, "fingerprint": weights.fingerprint, "backbone": "tiny", "videos": str(videos.resolve())}
    Description(**about, features=width, spec=SPEC).write(folder)


def index_here(videos: Path, folder: Path, a_part: int = 3) -> Path:
    """Index of a folder of videos, ``a_part`` videos per part, made as the tasks of the pipeline make it."""
    weights = untrained()
    describe(folder, weights, videos)
    items = [
        (
            item.location,
            PlannedVideo(item.id, item.label, item.source, "", list(size_and_mtime(item.location) or UNKNOWN)),
        )
        for item in list_videos(videos).items
    ]
    index_shard = ModelActor(indexing_spec(folder, videos, weights, SPEC, CONFIG, use_gpu=False))
    starts = range(0, len(items), a_part)
    for part, start in enumerate(starts):
        index_shard(part, items[start : start + a_part])
    write_videos(folder, len(starts), weights.features)
    return folder


def made_up(folder: Path, windows: list[np.ndarray], a_part: int = 7) -> Path:
    """Index of videos with the given window features, float32 [n, F] each; a window lasts a second.

    Video N is ``videos/N.mp4`` in the folder, if that file exists.
    """
    describe(folder, untrained(), folder / "videos", windows[0].shape[1])
    starts = range(0, len(windows), a_part)
    for part, start in enumerate(starts):
        with open_shard_writer(shard_path(folder, part), PART_SCHEMA) as writer:
            for number, features in enumerate(windows[start : start + a_part], start):
                spans = np.arange(len(features), dtype=np.float32)[:, None] + np.float32([0, 1])
                found = VideoFeatures(np.float32(features), spans, float(len(features)), b"thumbnail %d" % number)
                id = f"{number}.mp4"
                stamp = size_and_mtime(folder / "videos" / id) or UNKNOWN
                writer.write(part_row(id, f"label {number % 3}", "", id.encode(), stamp, found))
    write_videos(folder, len(starts), windows[0].shape[1])
    return folder
