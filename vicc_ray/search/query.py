"""From what the user searches with, a file or an id, to a query; the network of the index makes the features."""

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
from vicc_ray.search.features import embed_pieces
from vicc_ray.search.index_format import INDEX_FILE
from vicc_ray.search.ranking import Query, query_of_row
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.window_spec import View
from vicc_ray.search.windows import STRETCH, read_pieces
from vicc_ray.utils.local_paths import is_address, local_path
from vicc_ray.video.decode import DecodeTimeoutError, VideoError

MOST_WINDOWS, MOST_GFLOP = 5, 50.0
"""Of a query, since somebody waits: two windows of an S3D take 0.6 s on two cores (``benchmarks/search.json``)."""
BATCH = MOST_WINDOWS
"""Windows that are embedded at once."""
TIME_LIMIT_S = 60.0
"""For decoding and embedding a query."""


@dataclass(frozen=True)
class Asked:
    """A query, and what to show of it: a name, its length in seconds, its moving thumbnail."""

    query: Query
    name: str
    label: str
    seconds: float
    film: bytes


def query_view(view: View, model: ModelConfig, windows: int | None = None) -> View:
    """What is looked at of a query: ``windows`` of its first stretch, but no more than of a video of the index.

    Without ``windows`` they are few, fewer of a large network.
    """
    paid = max(1, int(MOST_GFLOP / clip_gflops(model, view.frames, view.size)))
    wanted = min(MOST_WINDOWS, paid) if windows is None else windows
    few = {"max_frames": min(view.max_frames, STRETCH), "max_windows": min(view.max_windows, wanted)}
    return view.model_copy(update=few)


def index_encoder(index: SearchIndex) -> PretrainedEncoder:
    """The network of an index.

    Raises:
        UserError: it is missing or damaged, or another network than that of the features.
    """
    weights = read_weights(index.encoder_file)
    if weights.stream != "rgb":
        raise UserError(f"{index.encoder_file} is a network of {weights.stream}; index the videos anew with one of RGB")
    encoder = PretrainedEncoder(weights).requires_grad_(False).eval()
    if encoder.fingerprint != index.description.fingerprint:
        raise UserError(
            f"{index.encoder_file} is the network {encoder.fingerprint}, and the features of this index were made by "
            f"{index.description.fingerprint}; put that file back, or index the videos anew into another folder"
        )
    seen, taken, smallest = index.description.view, encoder.clip, BACKBONES[encoder.model.backbone]
    sizes = (seen.frames, seen.step, seen.size)
    fits = sizes == (taken.frames, taken.frame_stride, taken.size) and encoder.features == index.description.features
    if not fits or seen.frames < smallest.min_frames or seen.size < smallest.min_pixels:
        raise UserError(
            f"{index.folder / INDEX_FILE} says that {index.description.features} features were made of {seen.frames} "
            f"frames of {seen.size} pixels, which its network does not do; index the videos anew"
        )
    return optimize_for_inference(encoder, torch.device("cpu"))


def ask(index: SearchIndex, given: str, windows: int | None = None) -> Asked:
    """The query that a user means: a video file, or else the id of a video of the index; windows: see `query_view`.

    Raises:
        UserError: it is neither, or the file is no video.
    """
    file = None if is_address(given) else local_path(given).absolute()
    if file and file.exists():  # in full, since FFmpeg takes the beginning of a:b.mp4 for a protocol
        return ask_file(index, file, windows)
    row = index.row_of(given)
    if row is None:
        ids = ", ".join(index.similar_ids(given))
        raise UserError(f"{given}: no such file, and no video of {index.folder} has this id; ids look like {ids}")
    return ask_row(index, row)


def ask_row(index: SearchIndex, row: int) -> Asked:
    """A video of the index as the query."""
    video = index.video(row)
    return Asked(query_of_row(index, row), video.id, video.label, video.seconds, index.film(row))


def ask_file(index: SearchIndex, path: Path, windows: int | None = None) -> Asked:
    """A video file as the query; windows: see `query_view`."""
    encoder = index_encoder(index)
    cv2.setNumThreads(1)
    try:
        view = query_view(index.description.view, encoder.model, windows)
        found = embed_pieces(encoder, read_pieces(path, view, TIME_LIMIT_S), BATCH)
    except VideoError as error:
        raise UserError(f"{path} cannot be searched with: {in_words(error, TIME_LIMIT_S)}") from None
    return Asked(Query(found.windows), path.name, "", found.seconds, found.film)


def in_words(error: VideoError, timeout_s: float) -> str:
    """What went wrong with a query; of its time limit, not the setting that videos of an index have."""
    return f"took longer than {timeout_s:g} s" if isinstance(error, DecodeTimeoutError) else str(error)
