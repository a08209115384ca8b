"""Training samples: one or two clips of a stored video; RGB and flow have the same frames and the same crop.

b samples, V clips per sample, T frames, S clip side, P appearance parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore, StoredVideo
from vicc_ray.config import ClipConfig, PrepareConfig, Stream
from vicc_ray.errors import UserError
from vicc_ray.video.appearance import APPEARANCE, draw_sample_appearance
from vicc_ray.video.clip_sampling import sample_rng, sample_two_clips
from vicc_ray.video.transforms import Crop, FlowCropper, RgbCropper, draw_crop

CHANNELS: dict[Stream, int] = {"rgb": 3, "flow": 2}
Batch = dict[str, np.ndarray]


def check_flow_unit(settings: PrepareConfig, clip: ClipConfig) -> None:
    """Check that ``clip.scale_flow_with_crop`` applies to the flow of a store.

    Raises:
        UserError: displacements are in pixels of the source videos, whose sizes the store does not have.
    """
    if clip.scale_flow_with_crop and settings.flow_unit == "source":
        raise UserError(
            "clip.scale_flow_with_crop: true given for a clip store with prepare.flow_unit source, whose displacements "
            "are in pixels of the source videos and not of the frames that are cropped; set "
            "clip.scale_flow_with_crop to false, or prepare the videos with prepare.flow_unit stored"
        )


def make_samples(
    store: ClipStore,
    entries: Sequence[VideoRecord],
    clip: ClipConfig,
    streams: Sequence[Stream],
    seed: int,
    epochs: Sequence[int],
    views: int = 2,
) -> Batch:
    """Decode and crop the samples of videos, each in its epoch.

    Random draws depend on (seed, epoch, id) only. So a clip is the same whatever else is in the batch, and with or
    without the other stream.

    Args:
        views: V, 1 or 2 clips of a video; a single clip has the frames of the first of two.

    Returns:
        rgb uint8 [b, V, T, S, S, 3] and flow uint8 [b, V, T, S, S, 2] (for ``streams``), appearance float32 [b, V, P].
    """
    # Clips are written straight into the batch: stacking arrays of this size took a sixth of the time.
    shape = (len(entries), views, clip.frames, clip.size, clip.size)
    batch: Batch = {stream: np.empty((*shape, CHANNELS[stream]), np.uint8) for stream in streams}
    batch["appearance"] = np.empty((len(entries), views, len(APPEARANCE)), np.float32)
    for n, (entry, epoch) in enumerate(zip(entries, epochs, strict=True)):
        _fill({name: array[n] for name, array in batch.items()}, store, entry, clip, seed, epoch)
    return batch


def _fill(sample: Batch, store: ClipStore, entry: VideoRecord, clip: ClipConfig, seed: int, epoch: int) -> None:
    rng = sample_rng(seed, epoch, entry.id)
    settings, views = store.settings, len(sample["appearance"])
    frames, one_clip = sample_two_clips(
        rng, entry.frames, clip.frames, clip.frame_stride, clip.same_clip_prob, clip.short_videos
    )
    frames = frames[:views]
    crops = [draw_crop(rng, entry.height, entry.width, clip, settings.grid) for _ in range(views)]
    sample["appearance"][:] = draw_sample_appearance(rng, clip, views, one_clip)
    video = store.read(entry, [stream for stream in CHANNELS if stream in sample])
    if "rgb" in sample:
        crop_rgb(video, frames, crops, sample["rgb"], clip)
    if "flow" in sample:
        crop_flow(video, frames, crops, sample["flow"], clip)


def crop_rgb(video: StoredVideo, frames: np.ndarray, crops: Sequence[Crop], out: np.ndarray, clip: ClipConfig) -> None:
    """Crop RGB clips of a video. A frame is decoded once, and cropped for all clips while it is in the CPU's cache.

    Args:
        frames: frame indices of the clips, int [V, T].
        crops: crop of each of the V clips.
        out: uint8 [V, T, S, S, 3].
        clip: ``interpolation`` counts.
    """
    positions, croppers = _positions(frames), [RgbCropper(crop, out.shape[2], clip.interpolation) for crop in crops]
    for index, planes in video.planes(sorted(positions)):
        for n, t in positions[index]:
            croppers[n].crop(planes, out[n, t])


def crop_flow(video: StoredVideo, frames: np.ndarray, crops: Sequence[Crop], out: np.ndarray, clip: ClipConfig) -> None:
    """Crop flow clips of a video into ``out`` uint8 [V, T, S, S, 2]; see :func:`crop_rgb` and :class:`FlowCropper`."""
    how = video.settings.flow_downscale, clip.scale_flow_with_crop, clip.negate_flipped_flow, clip.interpolation
    positions, croppers = _positions(frames), [FlowCropper(crop, out.shape[2], *how) for crop in crops]
    for index, field in video.fields(sorted(positions)):
        for n, t in positions[index]:
            croppers[n].crop(field, out[n, t])


def _positions(frames: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """Frame index -> its positions in the clips: (clip, t)."""
    positions: dict[int, list[tuple[int, int]]] = {}
    for clip, indices in enumerate(frames.tolist()):
        for t, index in enumerate(indices):
            positions.setdefault(index, []).append((clip, t))
    return positions
