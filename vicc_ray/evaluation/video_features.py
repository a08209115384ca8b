"""Features of whole stored videos: the mean over the windows and crops of the evaluation protocol.

N videos, n windows, F features, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore, StoredVideo
from vicc_ray.clip_store.training_clips import CHANNELS, crop_flow, crop_rgb
from vicc_ray.config import ClipConfig, EvaluateConfig, Stream
from vicc_ray.evaluation.protocol import Purpose, evaluation_crops, evaluation_windows
from vicc_ray.models.encoder import Encoder
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.video.flow import FlowUnit
from vicc_ray.video.transforms import Crop

MAX_CLIPS = 160
"""Clips of a video that are in memory at once: 240 MiB of RGB at 32 x 128 x 128."""


def iter_windows(
    store: ClipStore,
    entry: VideoRecord,
    streams: Sequence[Stream],
    clip: ClipConfig,
    evaluate: EvaluateConfig,
    purpose: Purpose = "retrieval",
) -> Iterator[dict[Stream, np.ndarray]]:
    """Test clips of a video by stream, some windows at a time, so that memory does not grow with the video's length.

    Yields:
        uint8 [n, T, S, S, 3] of RGB, [n, T, S, S, 2] of flow: all of the windows in the first crop, then in the next;
        n is windows x crops (1 or 10), at most ``MAX_CLIPS``.
    """
    spans = evaluation_windows(entry.frames, clip, evaluate)
    crops = evaluation_crops(entry.height, entry.width, store.settings.grid, evaluate, purpose)
    video = store.read(entry, streams)
    for chunk in np.array_split(spans, -(-len(spans) * len(crops) // MAX_CLIPS)):
        yield {stream: _crop_windows(video, stream, chunk, crops, clip) for stream in streams}


def _crop_windows(
    video: StoredVideo, stream: Stream, spans: np.ndarray, crops: Sequence[Crop], clip: ClipConfig
) -> np.ndarray:
    used, positions = np.unique(spans, return_inverse=True)  # windows overlap: each frame is cropped once
    frames, positions = np.tile(used, (len(crops), 1)), positions.reshape(spans.shape)
    cropped = np.empty((*frames.shape, clip.size, clip.size, CHANNELS[stream]), np.uint8)
    crop_stream = crop_rgb if stream == "rgb" else crop_flow
    crop_stream(video, frames, crops, cropped, clip)
    return cropped[:, positions].reshape(-1, *spans.shape[1:], *cropped.shape[2:])


@torch.inference_mode()
def embed_windows(
    encoder: Encoder, to_input: ClipInput, clips: np.ndarray, batch: int, device: torch.device
) -> np.ndarray:
    """Mean backbone feature over the windows of one video, float32 [F]; ``encoder`` must be in eval mode."""
    return window_features(encoder, to_input, clips, batch, device).mean(dim=0).cpu().numpy()


@torch.inference_mode()
def window_features(
    encoder: Encoder, to_input: ClipInput, clips: np.ndarray, batch: int, device: torch.device
) -> Tensor:
    """Backbone features of clips uint8 [n, T, S, S, C], float32 [n, F] on the device."""
    chunks = torch.from_numpy(clips).split(batch)
    return torch.cat([encoder.features(to_input(chunk.to(device))).float() for chunk in chunks])


def embed_videos(
    encoders: Mapping[str, tuple[InputConvention, Encoder]],
    store: ClipStore,
    entries: Sequence[VideoRecord],
    clip: ClipConfig,
    evaluate: EvaluateConfig,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """Features float32 [N, F] of each named network; each video is decoded once for all of them."""
    streams: list[Stream] = sorted({convention.stream for convention, _ in encoders.values()})
    unit = FlowUnit.of(store.settings)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    for entry in entries:
        parts: dict[str, list[Tensor]] = {name: [] for name in encoders}
        for clips in iter_windows(store, entry, streams, clip, evaluate):
            for name, (convention, encoder) in encoders.items():
                to_input, own = ClipInput(convention, unit), clips[convention.stream]
                parts[name].append(window_features(encoder, to_input, own, evaluate.batch_size, device))
        for name, features in parts.items():
            rows[name].append(torch.cat(features).mean(dim=0).cpu().numpy())
    return {name: np.stack(values) for name, values in rows.items()}
