"""Video file -> the clips of it that a network sees: the windows of the evaluation and of a search index.

N windows, T frames, S clip side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicc_ray.config import ClipConfig, Config, EvaluateConfig, PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.search.window_spec import View
from vicc_ray.search.windows import read_pieces
from vicc_ray.utils.local_paths import local_path
from vicc_ray.video.decode import VideoError

WINDOWS, FILES = EvaluateConfig(), PrepareConfig()
"""What a run has by default."""


def load_clips(
    path: Path | str,
    clip: ClipConfig,
    *,
    overlap: float = WINDOWS.window_overlap,
    max_windows: int = WINDOWS.max_windows_per_video,
    max_frames: int = FILES.max_frames,
    timeout_s: float = FILES.timeout_s,
) -> NDArray[np.uint8]:
    """The clips of a video file for an RGB network: ``encoder(load_clips(path, encoder.clip))``.

    Windows of ``clip.frames`` frames, every ``clip.frame_stride``-th of the video, of the centre square, scaled to
    ``clip.size`` pixels. They reach to its end; a video that is shorter than a window is repeated from its start.

    Args:
        clip: what the network was trained with, :attr:`vicc_ray.export.pretrained.PretrainedEncoder.clip`.
        overlap: of neighbouring windows, 0 to below 1; see ``evaluate.window_overlap``.
        max_windows: most windows, evenly spread, for each 1,000 frames; see ``evaluate.max_windows_per_video``.
        max_frames: frames that are looked at, from the start of the video.
        timeout_s: seconds after which decoding is given up.

    Returns:
        uint8 [N, T, S, S, 3] RGB, N at least 1.

    Raises:
        UserError: there is no such file here, or it gives no two frames, or takes too long.
        ValueError: an argument is out of its range.
    """
    settings = Config(
        evaluate=EvaluateConfig(window_overlap=overlap, max_windows_per_video=max_windows),
        prepare=PrepareConfig(max_frames=max_frames, timeout_s=timeout_s),
    )
    file = local_path(path).absolute()  # in full, since FFmpeg takes the beginning of a:b.mp4 for a protocol
    try:
        pieces = read_pieces(file, View.of(clip, settings), timeout_s, film=False)
        return np.concatenate([piece.clips(0, len(piece.places)) for piece in pieces])
    except VideoError as error:
        raise UserError(f"{path} gives no clips: {error}") from None
