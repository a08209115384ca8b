"""Queries from a video file or the id of an indexed video; the network of the index computes the features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from vicc_ray.config import ModelConfig
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import PretrainedEncoder
from vicc_ray.models.flops import clip_gflops
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.models.weights_io import read_weights
from vicc_ray.registry import BACKBONES
from vicc_ray.search.features import embed_chunks
from vicc_ray.search.index_format import INDEX_FILE
from vicc_ray.search.ranking import Query, query_of_row
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.search.windows import STRETCH, read_window_chunks
from vicc_ray.utils.local_paths import is_address, local_path
from vicc_ray.video.decode import DecodeTimeoutError, VideoError

MOST_WINDOWS, MOST_GFLOP = 5, 50.0
"""Limits of a query, since a user waits: two windows of S3D take 0.6 s on two cores (``benchmarks/search.json``)."""
BATCH = MOST_WINDOWS
"""Windows per call of the network."""
TIME_LIMIT_S = 60.0
"""Limit for decoding and embedding a query, in seconds."""


@dataclass(frozen=True)
class NamedQuery:
    """Query with what the page shows of it: name, label, length in seconds, animated thumbnail."""

    query: Query
    name: str
    label: str
    seconds: float
    thumbnail: bytes


def query_spec(spec: WindowSpec, model: ModelConfig, windows: int | None = None) -> WindowSpec:
    """Specification of a query: ``windows`` windows of its first stretch, at most as many as indexed videos have.

    The default is a small number, smaller for large networks.
    """
    affordable = max(1, int(MOST_GFLOP / clip_gflops(model, spec.frames, spec.size)))
    wanted = min(MOST_WINDOWS, affordable) if windows is None else windows
    limits = {"max_frames": min(spec.max_frames, STRETCH), "max_windows": min(spec.max_windows, wanted)}
    return spec.model_copy(update=limits)


def index_encoder(index: SearchIndex) -> PretrainedEncoder:
    """Network of an index.

    Raises:
        UserError: the network is missing or damaged, or is not the one that computed the features.
    """
    weights = read_weights(index.encoder_file)
    if weights.stream != "rgb":
        raise UserError(
            f"{index.encoder_file} is a network for {weights.stream}; index the videos again with an RGB network"
        )
    encoder = PretrainedEncoder(weights).requires_grad_(False).eval()
    if encoder.fingerprint != index.description.fingerprint:
        raise UserError(
            f"{index.encoder_file} is network {encoder.fingerprint}, but the features of this index were computed by "
            f"network {index.description.fingerprint}; restore that file, or index the videos into another folder"
        )
    spec, clip, backbone = index.description.spec, encoder.clip, BACKBONES[encoder.model.backbone]
    shape = (spec.frames, spec.step, spec.size, spec.crop_share)
    trained = (clip.frames, clip.frame_stride, clip.size, encoder.convention.crop_share)
    fits = shape == trained and encoder.features == index.description.features
    if not fits or spec.frames < backbone.min_frames or spec.size < backbone.min_pixels:
        raise UserError(
            f"{index.folder / INDEX_FILE} describes {index.description.features} features of {spec.frames} frames of "
            f"{spec.size} pixels, which does not match its network; index the videos again"
        )
    return optimize_for_inference(encoder, torch.device("cpu"))


def resolve_query(index: SearchIndex, text: str, windows: int | None = None) -> NamedQuery:
    """Query from user input: the path of a video file, or else the id of an indexed video.

    Args:
        windows: see :func:`query_spec`.

    Raises:
        UserError: ``text`` is neither, or the file is not a video.
    """
    file = None if is_address(text) else local_path(text).absolute()
    if file and file.exists():  # absolute: FFmpeg takes the start of a:b.mp4 for a protocol
        return query_from_file(index, file, windows)
    row = index.row_of(text)
    if row is None:
        ids = ", ".join(index.similar_ids(text))
        raise UserError(f"{text}: no such file, and no video of {index.folder} has this id; ids look like {ids}")
    return query_from_row(index, row)


def query_from_row(index: SearchIndex, row: int) -> NamedQuery:
    """Query from an indexed video."""
    video = index.video(row)
    return NamedQuery(query_of_row(index, row), video.id, video.label, video.seconds, index.thumbnail(row))


def query_from_file(index: SearchIndex, path: Path, windows: int | None = None) -> NamedQuery:
    """Query from a video file; ``windows``: see :func:`query_spec`."""
    encoder = index_encoder(index)
    cv2.setNumThreads(1)
    try:
        spec = query_spec(index.description.spec, encoder.model, windows)
        features = embed_chunks(encoder, read_window_chunks(path, spec, TIME_LIMIT_S), BATCH)
    except VideoError as error:
        raise UserError(f"{path} cannot be used as a query: {error_text(error, TIME_LIMIT_S)}") from None
    return NamedQuery(Query(features.windows), path.name, "", features.seconds, features.thumbnail)


def error_text(error: VideoError, timeout_s: float) -> str:
    """Message of a failed query; a timeout names the limit of queries, not the setting for indexing."""
    return f"took longer than {timeout_s:g} s" if isinstance(error, DecodeTimeoutError) else str(error)
