"""Dense optical flow between adjacent frames, and its quantization to 8 bits.

Shapes: T frames, H height, W width; the last axis of a flow is (u, v), motion to the right and motion down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vicc_ray.config import PrepareConfig

METHODS = ("dis", "tvl1", "farneback")
LEVELS = 127
"""Quantization levels on either side of zero."""
ZERO = 128
"""Quantized value of no motion."""
MIN_SIDE = 16
"""Smallest side in pixels for the image pyramids of the algorithms."""

Matcher = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
Item = TypeVar("Item")


def compute_flow(frames: Iterable[NDArray[np.uint8]], method: str) -> NDArray[np.float32]:
    """Optical flow in pixels per frame, float32 [T, H, W, 2], of T >= 2 RGB frames uint8 [H, W, 3].

    Entry t is the motion from frame t to frame t + 1. The last entry repeats the one before it.

    Args:
        method: "dis" (Kroeger et al. 2016, medium preset), "tvl1" (Zach et al. 2007), "farneback" (2003).

    Raises:
        ValueError: there are fewer than two frames, a side is below 16 pixels, or the method is unknown.
    """
    return np.stack([flow for _, flow in frames_with_flow(frames, method)])


def frames_with_flow(
    frames: Iterable[NDArray[np.uint8]], method: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield each frame with its entry of :func:`compute_flow`, float32 [H, W, 2]; two frames are in memory at most."""
    return items_with_flow(((frame, frame) for frame in frames), method)


def items_with_flow(
    items: Iterable[tuple[Item, NDArray[np.uint8]]], method: str
) -> Iterator[tuple[Item, NDArray[np.float32]]]:
    """Yield the item of each frame with the frame's flow; see :func:`frames_with_flow`.

    Args:
        items: pairs of an item and its frame.
    """
    match = _matcher(method)
    previous: Item | None = None
    previous_gray = flow = None
    for item, frame in items:
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
        if previous is None or previous_gray is None:
            _check_side(frame)
        else:
            flow = match(previous_gray, gray)
            yield previous, flow
        previous, previous_gray = item, gray
    if previous is None or flow is None:
        raise ValueError(f"flow needs at least two frames, {0 if previous is None else 1} given")
    yield previous, flow


def _check_side(frame: NDArray[np.uint8]) -> None:
    if min(frame.shape[:2]) < MIN_SIDE:
        raise ValueError(f"flow needs frames of at least {MIN_SIDE} pixels on each side, {frame.shape[:2]} given")


def resize_flow(flow: NDArray[np.float32], size: tuple[int, int], unit: tuple[int, int]) -> NDArray[np.float32]:
    """Flow of another resolution: the mean over each pixel's area where it gets smaller, else interpolated.

    Args:
        flow: float32 [H, W, 2] in pixels of a frame of H x W.
        size: height and width of the result.
        unit: height and width of the frame in whose pixels the displacements of the result are.
    """
    height, width = flow.shape[:2]
    if unit != (height, width):
        flow = flow * np.array([unit[1] / width, unit[0] / height], np.float32)
    if size == (height, width):
        return flow
    interpolation = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(flow, size[::-1], interpolation=interpolation), np.float32)


def quantize(flow: NDArray[np.float32], bound: float) -> NDArray[np.uint8]:
    """Clip flow to +-``bound`` pixels and quantize it to 1..255; no motion is exactly 128."""
    return (np.rint(np.clip(flow, -bound, bound) * (LEVELS / bound)) + ZERO).astype(np.uint8)


def dequantize(quantized: NDArray[np.uint8], bound: float) -> NDArray[np.float32]:
    """Inverse of :func:`quantize` to within ``bound / 254`` pixels: float32, pixels a frame."""
    return (quantized.astype(np.float32) - ZERO) * np.float32(bound / LEVELS)


@dataclass(frozen=True)
class FlowUnit:
    """Unit of 8-bit flow: the displacement of its largest value.

    Attributes:
        bound: displacement in pixels per frame at the end of the range.
        short_side: short side of the frames whose pixels are meant; None: frames at the size of their source.
    """

    bound: float
    short_side: int | None = None

    @classmethod
    def of(cls, settings: PrepareConfig) -> FlowUnit:
        """Unit of the flow in a clip store with these settings."""
        return cls(settings.flow_bound, settings.short_side if settings.flow_unit == "stored" else None)


@lru_cache
def picture_table(stored: FlowUnit, picture: FlowUnit) -> tuple[int, ...]:
    """Value of a flow picture for each of the 256 values of quantized flow.

    A picture has ``-bound`` at 0 and ``bound`` at 255, rounded. No motion lies between two values; it is 128.

    Args:
        stored: unit of the quantized flow.
        picture: unit of the picture. Displacements are scaled where both units name a short side, and they differ.
    """
    gain = picture.short_side / stored.short_side if picture.short_side and stored.short_side else 1.0
    displacements = (np.arange(256) - ZERO) * (stored.bound * gain / LEVELS)
    clipped = np.clip(displacements, -picture.bound, picture.bound)
    return tuple(np.rint((clipped + picture.bound) * (255 / (2 * picture.bound))).astype(int).tolist())


def _matcher(method: str) -> Matcher:
    if method == "dis":
        return _calculator(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM))
    if method == "tvl1":
        return _calculator(cv2.optflow.DualTVL1OpticalFlow.create())
    if method == "farneback":
        return _calculator(cv2.FarnebackOpticalFlow.create(numLevels=3, pyrScale=0.5, winSize=15, numIters=3))
    raise ValueError(f"flow method {method!r} given; allowed: {', '.join(METHODS)}")


def _calculator(algorithm: cv2.DenseOpticalFlow) -> Matcher:
    def match(previous: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        # OpenCV starts from the flow that is passed in; zeros make each pair independent of the previous one.
        return np.asarray(algorithm.calc(previous, after, np.zeros((*previous.shape, 2), np.float32)), np.float32)

    return match
