"""Features of whole stored videos: windows at a fixed overlap, centre crop, averaged over the windows.

N videos, n windows, F features, T frames, S clip side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vicc_ray.config import ClipConfig, EvaluateConfig, Stream
from vicc_ray.models.encoder import Encoder
from vicc_ray.training.appearance import to_flow_input, to_rgb_input
from vicc_ray.video.augment import centre_crop
from vicc_ray.video.entries import Entry
from vicc_ray.video.sample import cut_flow, cut_rgb
from vicc_ray.video.sampling import windows
from vicc_ray.video.store import ClipStore


def load_windows(
    store: ClipStore, entry: Entry, streams: Sequence[Stream], clip: ClipConfig, evaluate: EvaluateConfig
) -> dict[Stream, np.ndarray]:
    """Test windows of a video, uint8 [n, T, S, S, 3] RGB and [n, T, S, S, 2] flow, of the streams asked for."""
    spans = windows(entry.frames, clip.frames, clip.step, evaluate.overlap, evaluate.max_windows)
    crop = centre_crop(entry.height, entry.width, store.settings.grid)
    video = store.read(entry, streams)
    used, places = np.unique(spans, return_inverse=True)  # windows overlap: each frame is cut once
    places = places.reshape(spans.shape)
    found: dict[Stream, np.ndarray] = {}
    if "rgb" in streams:
        cut = np.empty((1, len(used), clip.size, clip.size, 3), np.uint8)
        cut_rgb(video, used[None], [crop], cut)
        found["rgb"] = cut[0, places]
    if "flow" in streams:
        cut = np.empty((1, len(used), clip.size, clip.size, 2), np.uint8)
        cut_flow(video, used[None], [crop], cut, clip.rescale_flow)
        found["flow"] = cut[0, places]
    return found


@torch.inference_mode()
def embed_windows(encoder: Encoder, stream: Stream, clips: np.ndarray, batch: int, device: torch.device) -> np.ndarray:
    """Mean backbone feature over the windows of one video, float32 [F]; ``encoder`` must be in eval mode."""
    parts: list[Tensor] = []
    for chunk in torch.from_numpy(clips).split(batch):
        x = to_rgb_input(chunk.to(device)) if stream == "rgb" else to_flow_input(chunk.to(device))
        parts.append(encoder.features(x).float())
    return torch.cat(parts).mean(dim=0).cpu().numpy()


def embed_videos(
    encoders: Mapping[str, tuple[Stream, Encoder]],
    store: ClipStore,
    entries: Sequence[Entry],
    clip: ClipConfig,
    evaluate: EvaluateConfig,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """Features float32 [N, F] of each named network; every video is decoded once for all of them."""
    streams: list[Stream] = sorted({stream for stream, _ in encoders.values()})
    rows: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    for entry in entries:
        clips = load_windows(store, entry, streams, clip, evaluate)
        for name, (stream, encoder) in encoders.items():
            rows[name].append(embed_windows(encoder, stream, clips[stream], evaluate.batch, device))
    return {name: np.stack(values) for name, values in rows.items()}
