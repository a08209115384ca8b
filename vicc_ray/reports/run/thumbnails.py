"""Moving thumbnails: the frames of a video side by side in one WebP, moved through a square window by a style sheet.

Against an animated WebP, such a strip is about a third larger, but it can be paused, it stands still for readers who
ask for less motion, all of a page move in step, and a video that shows up several times is in the page once.
T frames, S side of a frame in pixels.
"""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.clip_store.reader import ClipStore, StoredVideo
from vicc_ray.reports.svg.flow_color import fast_speed, flow_to_color, legend
from vicc_ray.video.flow import dequantize

FRAMES = 16
FRAMES_PER_S = 10.0
SIDE = 112  # a multiple of 16, so that no block of the codec reaches into the next frame
LEAST_FULL = 1.0  # pixels a frame: slower motion than this does not get the full colour, or noise would
STILL = 0.25  # pixels a frame, below which nothing of the colour is seen
LARGEST_STRIP = 34_000  # bytes: 100 strips in base64 stay below 5 MB
QUALITIES = (60, 45, 30, 15)


def thumbnail_frames(frames: int, fps: float) -> NDArray[np.int64]:
    """Frames [16] shown of a video: 1.6 s in real time from its middle; a shorter video is shown whole, slower."""
    shown = (FRAMES - 1) * fps / FRAMES_PER_S
    if shown > frames - 1:
        return np.rint(np.linspace(0, frames - 1, FRAMES)).astype(np.int64)
    start = (frames - 1 - shown) / 2
    return np.rint(start + np.arange(FRAMES) * fps / FRAMES_PER_S).astype(np.int64)


class Thumbnails:
    """The strips of a page: each video's frames and flow once, however often they are shown.

    The methods return the CSS class that shows a film, or None where the store does not hold the video.
    """

    def __init__(self, store: ClipStore) -> None:
        self._store = store
        self._entries = {entry.id: entry for entry in store.entries}
        self._strips: dict[tuple[str, str], str] = {}
        self._speeds: dict[str, float] = {}

    def rgb(self, video_id: str) -> str | None:
        """The frames of a video."""
        return self._film("rgb", video_id)

    def flow(self, video_id: str) -> str | None:
        """The flow of a video on the colour wheel."""
        return self._film("flow", video_id)

    def speed(self, video_id: str) -> float:
        """The speed of a video, in pixels of the stored frames a frame, that 99 in 100 of what its flow film shows
        stay below.
        """
        self.flow(video_id)
        return self._speeds[video_id]

    def still(self, video_id: str) -> bool:
        """Whether a flow film is white, since hardly anything moves in it."""
        return self.speed(video_id) < STILL

    def css(self) -> str:
        """Style rules of all films that were asked for."""
        return "\n".join(f".f{n}{{background-image:url({uri})}}" for n, uri in enumerate(self._strips.values()))

    def _film(self, kind: str, video_id: str) -> str | None:
        if video_id not in self._entries:
            return None
        if (kind, video_id) not in self._strips:
            video = self._store.read(self._entries[video_id], columns=[kind])
            frames = video.rgb(self._indices(video)) if kind == "rgb" else self._flow_colours(video_id, video)
            self._strips[kind, video_id] = strip_uri(frames)
        return f"f{list(self._strips).index((kind, video_id))}"

    def _flow_colours(self, video_id: str, video: StoredVideo) -> NDArray[np.uint8]:
        flow = dequantize(video.flow(self._indices(video)), self._store.settings.flow_bound)
        self._speeds[video_id] = fast_speed(flow)
        return flow_to_color(flow, max(LEAST_FULL, self._speeds[video_id]))

    @staticmethod
    def _indices(video: StoredVideo) -> NDArray[np.int64]:
        return thumbnail_frames(video.frames, video.entry.fps)


def legend_uri(size: int = 128) -> str:
    """Data URI of the colour wheel."""
    return _uri("png", cv2.imencode(".png", cv2.cvtColor(legend(size), cv2.COLOR_RGBA2BGRA))[1])


def strip_uri(frames: NDArray[np.uint8]) -> str:
    """Data URI of frames [T, H, W, 3], each cut to its central square and scaled to S x S, side by side in a WebP."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side]
    shrinks = side > SIDE
    filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    strip = np.concatenate([cv2.resize(f, (SIDE, SIDE), interpolation=filter_) for f in square], axis=1)
    for quality in QUALITIES:
        encoded = cv2.imencode(".webp", strip[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
        if len(encoded) <= LARGEST_STRIP:
            break
    return _uri("webp", encoded)


def _uri(kind: str, content: NDArray[np.uint8]) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.tobytes()).decode()}"
