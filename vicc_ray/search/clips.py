"""Clips of a video file for a network: the windows of the evaluation and of a search index.

N windows, T frames, S clip side.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vicc_ray.config import Config, EvaluateConfig, PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.search.windows import read_window_chunks
from vicc_ray.utils.local_paths import local_path
from vicc_ray.video.decode import VideoError

if TYPE_CHECKING:
    from vicc_ray.export.pretrained import PretrainedEncoder
    from vicc_ray.models.weights_io import EncoderWeights

WINDOWS, FILES = EvaluateConfig(), PrepareConfig()
"""Defaults of a run."""


def load_clips(
    path: Path | str,
    encoder: PretrainedEncoder | EncoderWeights,
    *,
    overlap: float = WINDOWS.window_overlap,
    max_windows: int = WINDOWS.max_windows_per_video,
    max_frames: int = FILES.max_frames,
    timeout_s: float = FILES.timeout_s,
) -> NDArray[np.uint8]:
    """Clips of a video file for an RGB network: ``encoder(load_clips(path, encoder))``.

    A window has ``clip.frames`` frames, every ``clip.frame_stride``-th of the video, of the center square that the
    network is tested with, scaled to ``clip.size`` pixels. The windows cover the whole video; one shorter than a window
    is repeated from its start.

    Args:
        encoder: network to load clips for; ``clip`` above is its attribute.
        overlap: fraction shared by neighboring windows, at least 0, below 1; see ``evaluate.window_overlap``.
        max_windows: most windows per 1,000 frames, evenly spaced; see ``evaluate.max_windows_per_video``.
        max_frames: frames to decode, from the start of the video.
        timeout_s: limit for decoding, in seconds.

    Returns:
        uint8 [N, T, S, S, 3] RGB, N at least 1.

    Raises:
        UserError: there is no such local file, it has fewer than two frames, or the time limit is exceeded.
        ValueError: an argument is out of range.
    """
    settings = Config(
        evaluate=EvaluateConfig(window_overlap=overlap, max_windows_per_video=max_windows),
        prepare=PrepareConfig(max_frames=max_frames, timeout_s=timeout_s),
    )
    file = local_path(path).absolute()  # absolute: FFmpeg takes the start of a:b.mp4 for a protocol
    try:
        chunks = read_window_chunks(
            file, WindowSpec.of(encoder.clip, encoder.convention.crop_share, settings), timeout_s, thumbnail=False
        )
        return np.concatenate([chunk.clips(0, len(chunk.places)) for chunk in chunks])
    except VideoError as error:
        raise UserError(f"{path} gives no clips: {error}") from None
