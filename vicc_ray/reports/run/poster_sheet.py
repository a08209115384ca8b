"""A still picture of each of many videos in one image, of which a style sheet shows one at a time."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np

from vicc_ray.clip_store.reader import ClipStore

SIDE = 96
"""Pixels of a picture: a multiple of 16, so that no block of the codec reaches into the next one."""
QUALITY = 50


class PosterSheet:
    """The middle frame of each video, cut to its central square, in one WebP of a grid.

    Args:
        ids: videos; those that the store does not hold stay grey.
    """

    def __init__(self, store: ClipStore, ids: Sequence[str]) -> None:
        self.columns = max(1, math.ceil(math.sqrt(len(ids))))
        self.rows = max(1, math.ceil(len(ids) / self.columns))
        self._place = {video_id: n for n, video_id in enumerate(ids)}
        sheet = np.full((self.rows * SIDE, self.columns * SIDE, 3), 128, np.uint8)
        for entry in store.entries:
            if entry.id in self._place:
                column, row = self.place(entry.id)
                frame = store.read(entry, columns=["rgb"]).rgb(np.array([entry.frames // 2]))[0]
                sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = _square(frame)
        encoded = cv2.imencode(".webp", sheet[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
        self.uri = f"data:image/webp;base64,{base64.b64encode(encoded.tobytes()).decode()}"

    def place(self, video_id: str) -> tuple[int, int]:
        """Column and row of a video's picture."""
        n = self._place[video_id]
        return n % self.columns, n // self.columns


def _square(frame: np.ndarray) -> np.ndarray:
    side = min(frame.shape[:2])
    top, left = ((length - side) // 2 for length in frame.shape[:2])
    return cv2.resize(frame[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
