"""Training samples: one or two clips of a stored video each, RGB and flow cut from the same frames and the same crop.

b samples, V clips a sample, T frames, S clip side, P appearance parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore, StoredVideo
from vicc_ray.config import ClipConfig, Stream
from vicc_ray.video.clip_sampling import sample_rng, sample_two_clips
from vicc_ray.video.transforms import APPEARANCE, Crop, FlowCropper, RgbCropper, draw_appearance, draw_crop

CHANNELS: dict[Stream, int] = {"rgb": 3, "flow": 2}
Batch = dict[str, np.ndarray]


def make_samples(
    store: ClipStore,
    entries: Sequence[VideoRecord],
    clip: ClipConfig,
    streams: Sequence[Stream],
    seed: int,
    epochs: Sequence[int],
    views: int = 2,
) -> Batch:
    """Decode and cut the samples of some videos, each in its epoch.

    The draws of a sample depend on (seed, epoch, id) alone: a clip is the same whatever else is in the batch, and
    whether or not the other stream is wanted.

    Args:
        views: V, 1 or 2 clips of a video; one is cut from the frames of the first of two.

    Returns:
        rgb uint8 [b, V, T, S, S, 3] and flow uint8 [b, V, T, S, S, 2] (those asked for), appearance float32 [b, V, P].
    """
    # Each clip is cut straight into its place: stacking arrays of this size took a sixth of the time.
    shape = (len(entries), views, clip.frames, clip.size, clip.size)
    batch: Batch = {stream: np.empty((*shape, CHANNELS[stream]), np.uint8) for stream in streams}
    batch["appearance"] = np.empty((len(entries), views, len(APPEARANCE)), np.float32)
    for n, (entry, epoch) in enumerate(zip(entries, epochs, strict=True)):
        _fill({name: array[n] for name, array in batch.items()}, store, entry, clip, seed, epoch)
    return batch


def _fill(sample: Batch, store: ClipStore, entry: VideoRecord, clip: ClipConfig, seed: int, epoch: int) -> None:
    rng = sample_rng(seed, epoch, entry.id)
    settings, views = store.settings, len(sample["appearance"])
    frames = sample_two_clips(rng, entry.frames, clip.frames, clip.step, clip.same_clip_share)[:views]
    crops = [draw_crop(rng, entry.height, entry.width, clip, settings.grid) for _ in range(views)]
    for k in range(views):
        sample["appearance"][k] = draw_appearance(rng, clip)
    video = store.read(entry, [stream for stream in CHANNELS if stream in sample])
    if "rgb" in sample:
        crop_rgb(video, frames, crops, sample["rgb"])
    if "flow" in sample:
        crop_flow(video, frames, crops, sample["flow"], clip.rescale_flow)


def crop_rgb(video: StoredVideo, frames: np.ndarray, crops: Sequence[Crop], out: np.ndarray) -> None:
    """Clips of a video's RGB; a frame is decoded once, and cut for all its places while it is in the cache.

    Args:
        frames: int [V, T], the frames of each of V clips.
        crops: V of them.
        out: uint8 [V, T, S, S, 3].
    """
    places, cutters = _places(frames), [RgbCropper(crop, out.shape[2]) for crop in crops]
    for index, planes in video.planes(sorted(places)):
        for clip, t in places[index]:
            cutters[clip].cut(planes, out[clip, t])


def crop_flow(video: StoredVideo, frames: np.ndarray, crops: Sequence[Crop], out: np.ndarray, rescale: bool) -> None:
    """Clips of a video's flow, ``out`` uint8 [V, T, S, S, 2]; see :func:`crop_rgb` and :class:`FlowCropper`."""
    scale = video.settings.flow_scale
    places, cutters = _places(frames), [FlowCropper(crop, out.shape[2], scale, rescale) for crop in crops]
    for index, field in video.fields(sorted(places)):
        for clip, t in places[index]:
            cutters[clip].cut(field, out[clip, t])


def _places(frames: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """Frame -> where it is wanted: (clip, place in the clip)."""
    places: dict[int, list[tuple[int, int]]] = {}
    for clip, indices in enumerate(frames.tolist()):
        for t, index in enumerate(indices):
            places.setdefault(index, []).append((clip, t))
    return places
