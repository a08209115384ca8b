"""One training sample: two clips of a stored video, RGB and flow cut from the same frames and the same crop.

T frames, S clip side, P appearance parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vicc_ray.config import ClipConfig, Stream
from vicc_ray.video.augment import crop_flow, crop_rgb, draw_appearance, draw_crop
from vicc_ray.video.sampling import sample_generator, two_clips
from vicc_ray.video.store import ClipStore, Entry

Sample = dict[str, np.ndarray]


def make_sample(
    store: ClipStore, entry: Entry, clip: ClipConfig, streams: Sequence[Stream], seed: int, epoch: int
) -> Sample:
    """Decode and cut the sample of a video in an epoch.

    The draws do not depend on ``streams``, so a clip is the same whether or not the other stream is wanted.

    Returns:
        rgb uint8 [2, T, S, S, 3] and flow uint8 [2, T, S, S, 2] (those asked for), appearance float32 [2, P].
    """
    rng = sample_generator(seed, epoch, entry.id)
    frames = two_clips(rng, entry.frames, clip.frames, clip.step, clip.same_clip_share)
    crops = [draw_crop(rng, entry.height, entry.width, clip) for _ in range(2)]
    sample = {"appearance": np.stack([draw_appearance(rng, clip) for _ in range(2)])}
    video = store.read(entry, streams)
    if "rgb" in streams:
        sample["rgb"] = np.stack([crop_rgb(video.rgb(frames[k]), crops[k], clip.size) for k in range(2)])
    if "flow" in streams:
        sample["flow"] = np.stack(
            [crop_flow(video.flow(frames[k]), crops[k], clip.size, clip.rescale_flow) for k in range(2)]
        )
    return sample


def stack_samples(samples: Sequence[Sample]) -> Sample:
    """Samples [...] -> one batch [b, ...] of each array."""
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
