"""Thumbnails of videos: animated strips, and posters in one sheet.

A strip is the frames of a video side by side in one WebP, which a style sheet moves through a square window. It is
about a third larger than an animated WebP, but it can be paused, stands still for readers who ask for reduced motion,
runs in step with all others, and is in the page once however often the video is shown.
T frames, S side of a frame in pixels.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.clip_store.reader import ClipStore, StoredVideo
from vicc_ray.reports.svg.flow_color import fast_speed, flow_to_color, legend
from vicc_ray.video.flow import dequantize

FRAMES = 16
FRAMES_PER_S = 10.0
SIDE = 112
"""Pixels; a multiple of 16, so that no block of the codec reaches into the next frame."""
MIN_FULL_SPEED = 1.0
"""Pixels per frame that get full saturation at least: in slower videos, noise would get it."""
STATIC_SPEED = 0.25
"""Pixels per frame below which the flow is white."""
MAX_STRIP_BYTES = 34_000
"""100 strips in base64 stay below 5 MB."""
STRIP_QUALITIES = (60, 45, 30, 15)
POSTER_SIDE = 96
"""Pixels; a multiple of 16, as :data:`SIDE`."""
POSTER_QUALITY = 50


def thumbnail_frames(frames: int, fps: float) -> NDArray[np.int64]:
    """Frame numbers [16] of a video's thumbnail: 1.6 s in real time from its middle.

    A shorter video is shown as a whole, in slow motion.
    """
    shown = (FRAMES - 1) * fps / FRAMES_PER_S
    if shown > frames - 1:
        return np.rint(np.linspace(0, frames - 1, FRAMES)).astype(np.int64)
    start = (frames - 1 - shown) / 2
    return np.rint(start + np.arange(FRAMES) * fps / FRAMES_PER_S).astype(np.int64)


class Thumbnails:
    """The strips and posters of a page. Each video's frames and flow are encoded once.

    :meth:`rgb` and :meth:`flow` return the CSS class that shows a strip, or None if the store lacks the video.
    """

    def __init__(self, store: ClipStore) -> None:
        self._store = store
        self._entries = {entry.id: entry for entry in store.entries}
        self._strips: dict[tuple[str, str], str] = {}
        self._speeds: dict[str, float] = {}
        self._rules: list[str] = []

    def rgb(self, video_id: str) -> str | None:
        """The frames of a video."""
        return self._strip("rgb", video_id)

    def flow(self, video_id: str) -> str | None:
        """The optical flow of a video in the colors of the color wheel."""
        return self._strip("flow", video_id)

    def speed(self, video_id: str) -> float:
        """The 99th percentile of the speeds in a video's flow strip, in pixels per frame (``prepare.flow_unit``)."""
        self.flow(video_id)
        return self._speeds[video_id]

    def is_static(self, video_id: str) -> bool:
        """Whether a flow strip is white because hardly anything moves."""
        return self.speed(video_id) < STATIC_SPEED

    def posters(self, video_ids: Sequence[str]) -> PosterSheet:
        """One picture of each video, as the background of elements that match ``.map-point b``."""
        sheet = PosterSheet(self._store, video_ids)
        self._rules.append(
            f".map-point b{{background-image:url({sheet.uri});background-size:{100 * sheet.columns}% auto}}"
        )
        return sheet

    def css(self) -> str:
        """Style rules of all strips and posters that were asked for."""
        strips = [f".f{n}{{background-image:url({uri})}}" for n, uri in enumerate(self._strips.values())]
        return "\n".join([*strips, *self._rules])

    def _strip(self, column: str, video_id: str) -> str | None:
        if video_id not in self._entries:
            return None
        if (column, video_id) not in self._strips:
            video = self._store.read(self._entries[video_id], columns=[column])
            numbers = thumbnail_frames(video.frames, video.entry.fps)
            frames = video.rgb(numbers) if column == "rgb" else self._flow_colors(video_id, video, numbers)
            self._strips[column, video_id] = strip_uri(frames)
        return f"f{list(self._strips).index((column, video_id))}"

    def _flow_colors(self, video_id: str, video: StoredVideo, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        flow = dequantize(video.flow(numbers), self._store.settings.flow_bound)
        self._speeds[video_id] = fast_speed(flow)
        return flow_to_color(flow, max(MIN_FULL_SPEED, self._speeds[video_id]))


class PosterSheet:
    """The middle frame of each video, cropped to its central square, in one WebP with a grid of pictures.

    Args:
        video_ids: videos; those that the store lacks stay gray.
    """

    def __init__(self, store: ClipStore, video_ids: Sequence[str]) -> None:
        self.columns = max(1, math.ceil(math.sqrt(len(video_ids))))
        self.rows = max(1, math.ceil(len(video_ids) / self.columns))
        self._index = {video_id: n for n, video_id in enumerate(video_ids)}
        sheet = np.full((self.rows * POSTER_SIDE, self.columns * POSTER_SIDE, 3), 128, np.uint8)
        for entry in store.entries:
            if entry.id in self._index:
                left, top = (POSTER_SIDE * place for place in self.place(entry.id))
                frame = store.read(entry, columns=["rgb"]).rgb(np.array([entry.frames // 2]))[0]
                poster = cv2.resize(_central_square(frame), (POSTER_SIDE, POSTER_SIDE), interpolation=cv2.INTER_AREA)
                sheet[top : top + POSTER_SIDE, left : left + POSTER_SIDE] = poster
        self.uri = _webp_uri(sheet, POSTER_QUALITY)[0]

    def place(self, video_id: str) -> tuple[int, int]:
        """Column and row of a video's picture."""
        n = self._index[video_id]
        return n % self.columns, n // self.columns


def color_wheel_uri(size: int = 128) -> str:
    """Data URI of the color wheel."""
    encoded = cv2.imencode(".png", cv2.cvtColor(legend(size), cv2.COLOR_RGBA2BGRA))[1]
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def strip_uri(frames: NDArray[np.uint8]) -> str:
    """Data URI of a WebP with the central squares of frames [T, H, W, 3], scaled to S x S, side by side."""
    square = [_central_square(frame) for frame in frames]
    filter_ = cv2.INTER_AREA if square[0].shape[0] > SIDE else cv2.INTER_CUBIC
    strip = np.concatenate([cv2.resize(frame, (SIDE, SIDE), interpolation=filter_) for frame in square], axis=1)
    for quality in STRIP_QUALITIES:
        uri, size = _webp_uri(strip, quality)
        if size <= MAX_STRIP_BYTES:
            break
    return uri


def _central_square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = min(frame.shape[:2])
    top, left = ((length - side) // 2 for length in frame.shape[:2])
    return frame[top : top + side, left : left + side]


def _webp_uri(image: NDArray[np.uint8], quality: int) -> tuple[str, int]:
    """Data URI of an RGB image, and its bytes before base64."""
    encoded = cv2.imencode(".webp", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return f"data:image/webp;base64,{base64.b64encode(encoded.tobytes()).decode()}", len(encoded)
