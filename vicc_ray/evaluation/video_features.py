"""Features of whole stored videos: the mean over windows at a fixed overlap, of the center crop or ten crops.

N videos, n windows, F features, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.training_clips import CHANNELS, crop_flow, crop_rgb
from vicc_ray.config import ClipConfig, EvaluateConfig, Stream
from vicc_ray.models.encoder import Encoder
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.flow import FlowUnit
from vicc_ray.video.transforms import center_crop, ten_crops


def load_windows(
    store: ClipStore, entry: VideoRecord, streams: Sequence[Stream], clip: ClipConfig, evaluate: EvaluateConfig
) -> dict[Stream, np.ndarray]:
    """Test clips of a video by stream: uint8 [n, T, S, S, 3] of RGB, [n, T, S, S, 2] of flow.

    They are all windows of the first crop, then of the next: n is windows x crops (1, or 10 with ``evaluate.crops``
    ten).
    """
    spans = windows(
        entry.frames, clip.frames, clip.frame_stride, evaluate.window_overlap, evaluate.max_windows_per_video
    )
    geometry = (entry.height, entry.width, store.settings.grid)
    crops = ten_crops(*geometry) if evaluate.crops == "ten" else [center_crop(*geometry)]
    video = store.read(entry, streams)
    used, positions = np.unique(spans, return_inverse=True)  # windows overlap: each frame is cropped once
    frames, positions = np.tile(used, (len(crops), 1)), positions.reshape(spans.shape)
    clips: dict[Stream, np.ndarray] = {}
    for stream in streams:
        cropped = np.empty((*frames.shape, clip.size, clip.size, CHANNELS[stream]), np.uint8)
        if stream == "rgb":
            crop_rgb(video, frames, crops, cropped, clip)
        else:
            crop_flow(video, frames, crops, cropped, clip)
        clips[stream] = cropped[:, positions].reshape(-1, *spans.shape[1:], *cropped.shape[2:])
    return clips


@torch.inference_mode()
def embed_windows(
    encoder: Encoder, to_input: ClipInput, clips: np.ndarray, batch: int, device: torch.device
) -> np.ndarray:
    """Mean backbone feature over the windows of one video, float32 [F]; ``encoder`` must be in eval mode."""
    parts: list[Tensor] = []
    for chunk in torch.from_numpy(clips).split(batch):
        parts.append(encoder.features(to_input(chunk.to(device))).float())
    return torch.cat(parts).mean(dim=0).cpu().numpy()


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
        clips = load_windows(store, entry, streams, clip, evaluate)
        for name, (convention, encoder) in encoders.items():
            to_input, windows_of_video = ClipInput(convention, unit), clips[convention.stream]
            rows[name].append(embed_windows(encoder, to_input, windows_of_video, evaluate.batch_size, device))
    return {name: np.stack(values) for name, values in rows.items()}
