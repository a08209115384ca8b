"""Shard of a search index: RGB of videos decoded in windows, embedded at once, and written as one file."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.clip_store.writer import open_shard_writer
from vicc_ray.config import Config
from vicc_ray.datasets.locations import Location
from vicc_ray.export.pretrained import PretrainedEncoder
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.pipelines.inference.model_actor import InferenceSpec
from vicc_ray.pipelines.prepare.sharded_output import Videos
from vicc_ray.search.features import embed_chunks
from vicc_ray.search.index_format import part_row
from vicc_ray.search.index_schema import PART_SCHEMA
from vicc_ray.search.video_folder import UNKNOWN
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.search.windows import read_window_chunks
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.sharding.task import write_shard


def indexing_spec(
    folder: Path, videos: Location, weights: EncoderWeights, spec: WindowSpec, config: Config, use_gpu: bool
) -> InferenceSpec:
    """Spec of an index in ``folder``: number of a shard and its videos -> number of failures.

    Args:
        videos: folder or address below which the videos lie.
    """
    return InferenceSpec(partial(_load_encoder, weights), partial(_index_shard, folder, videos, spec, config), use_gpu)


def _load_encoder(weights: EncoderWeights, device: torch.device) -> PretrainedEncoder:
    return optimize_for_inference(PretrainedEncoder(weights).eval(), device)


def _index_shard(
    folder: Path,
    root: Location,
    spec: WindowSpec,
    config: Config,
    encoder: PretrainedEncoder,
    device: torch.device,
    shard: int,
    videos: Videos,
) -> int:
    """See :func:`write_shard`."""
    files = {video.id: _relative_name(root, location) for location, video in videos}

    def row(path: Path, video: PlannedVideo) -> dict[str, Any]:
        chunks = read_window_chunks(path, spec, config.prepare.timeout_s)
        features = embed_chunks(encoder, chunks, config.evaluate.batch_size)
        return part_row(video.id, video.label, video.source, files[video.id], video.file or UNKNOWN, features)

    writing = open_shard_writer(shard_path(folder, shard), PART_SCHEMA)
    return write_shard(folder, shard, videos, config.prepare, writing, row)


def _relative_name(root: Location, location: Location) -> bytes:
    """Path of a video below the folder of all of them."""
    if isinstance(root, Path) and isinstance(location, Path):
        return os.fsencode(os.path.relpath(location, root))
    return str(getattr(location, "name", location)).encode()
