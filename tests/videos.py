"""Generated video files and textures for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.video.codec import REPRODUCIBLE


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random image with full contrast in brightness and some color, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    gray = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 2.0)
    tint = cv2.GaussianBlur(rng.standard_normal((height, width, 3)).astype(np.float32), (0, 0), 6.0)
    image = 128 + gray[..., None] / gray.std() * 45 + tint / tint.std() * 15
    return np.clip(image, 0, 255).astype(np.uint8)


def moving(
    frames: int, height: int, width: int, velocity: tuple[int, int] = (2, -1), seed: int = 0
) -> NDArray[np.uint8]:
    """A texture that moves by ``velocity`` (right, down) pixels per frame, uint8 [T, H, W, 3]."""
    right, down = velocity
    margin = frames * max(abs(right), abs(down))
    picture = texture(height + 2 * margin, width + 2 * margin, seed)
    corners = [(margin - down * t, margin - right * t) for t in range(frames)]
    return np.stack([picture[y : y + height, x : x + width] for y, x in corners])


def write_video(
    path: Path,
    frames: NDArray[np.uint8],
    fps: int = 25,
    *,
    rotation: int = 0,
    mirror: bool = False,
    timestamps: list[int] | None = None,
    ticks: int = 1000,
    pixel_aspect: str = "1:1",
    codec: str = "libx264",
) -> Path:
    """Write RGB frames uint8 [T, H, W, 3] (even sides) as H.264.

    Args:
        rotation: counterclockwise display rotation in degrees.
        mirror: whether a horizontal flip follows the rotation.
        timestamps: presentation timestamps in units of 1/``ticks`` s; by default evenly spaced at ``fps``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        num, den = pixel_aspect.split(":")
        stream.codec_context.sample_aspect_ratio = Fraction(int(num), int(den))
        if codec == "libx264":
            stream.options = {"crf": "12", "preset": "veryfast", "x264-params": REPRODUCIBLE}
        if rotation or mirror:
            stream.set_display_rotation(rotation, hflip=mirror)
        for t, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if timestamps is not None:
                frame.pts, frame.time_base = timestamps[t], Fraction(1, ticks)
                stream.codec_context.time_base = Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """Write half a second of a tone and no video stream."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        wave = np.sin(np.arange(8000) * 0.1).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
