"""A decoded frame as 8-bit RGB that looks right on an ordinary screen: BT.709 colours, gamma 2.4.

Matrix and range (BT.601 or BT.709, limited or full) are those that the stream names; where it names no matrix, frames
wider than 1024 or higher than 576 pixels are BT.709 and smaller ones BT.601, as players take them. Streams of high
dynamic range (PQ, HLG) and of BT.2020 colours are brought to BT.709 by :func:`to_bt709`: swscale alone would keep their
numbers, which look grey and pale. Shapes: H height, W width.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray

UNTAGGED = 2
"""FFmpeg's AVCOL_SPC_UNSPECIFIED."""
SD_SIZE = (1024, 576)
"""Largest width and height of a frame without a named matrix that is taken for BT.601."""
IMX_SIZE = (720, 608)
"""A frame of standard definition too: that of IMX, with 32 lines of data above the picture."""
WHITE_NITS = 203.0
"""Brightness of white paper in a PQ stream (ITU-R BT.2408); 1.0 below."""
HLG_PEAK_NITS = 1000.0
"""Brightness of the brightest value of an HLG stream on the screen that BT.2100 describes."""
KNEE = 0.5
"""Share of white up to which brightness is kept as it is."""
GAMMA = 2.4
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""The same numbers on every CPU: without the two flags frames that are not scaled go through code that rounds down, and
how far depends on the CPU."""
STEPS = (((np.arange(255) + 0.5) / 255) ** GAMMA).astype(np.float32)
"""Light from which on each of the values 1 to 255 is meant."""


class RgbConverter:
    """Frames of one stream to RGB of one size."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """The frame scaled to uint8 [H, W, 3].

        Raises:
            av.FFmpegError, ValueError: frames of this pixel format cannot be converted.
        """
        wide = frame.color_trc in HDR or frame.color_primaries == ColorPrimaries.BT2020
        scaled = self._reformatter.reformat(
            frame,
            width,
            height,
            format="rgb48le" if wide else "rgb24",
            src_colorspace=_matrix(frame),
            interpolation=AREA,
            threads=1,
        ).to_ndarray()
        image = _expanded(np.asarray(scaled)) if _is_limited_gray(frame) else scaled
        return to_bt709(np.asarray(image, np.uint16), frame.color_trc) if wide else np.asarray(image, np.uint8)


def _matrix(frame: VideoFrame) -> Colorspace | None:
    """The matrix to assume; None: the one that the frame names, and BT.601 where it names none."""
    size = frame.width, frame.height
    large = (size[0] > SD_SIZE[0] or size[1] > SD_SIZE[1]) and size != IMX_SIZE
    return Colorspace.ITU709 if frame.colorspace == UNTAGGED and large else None


def _is_limited_gray(frame: VideoFrame) -> bool:
    """Whether the frame is of brightness alone, in limited range: swscale takes all grey for full range."""
    is_grey = sum(not component.is_alpha for component in frame.format.components) == 1 and not frame.format.has_palette
    return is_grey and frame.color_range == ColorRange.MPEG


def _expanded(gray: NDArray[Any]) -> NDArray[Any]:
    """Limited range (of 8 bits: 16 to 235) as full range, of the same type."""
    unit = (np.iinfo(gray.dtype).max + 1) // 256
    full = (gray.astype(np.float32) - 16 * unit) * (np.iinfo(gray.dtype).max / (219 * unit))
    return np.clip(np.rint(full), 0, np.iinfo(gray.dtype).max).astype(gray.dtype)


def to_bt709(image: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """An image of BT.2020 colours, uint16 [H, W, 3] of full range, as BT.709 uint8 [H, W, 3].

    Args:
        transfer: FFmpeg's number of the curve from light to signal; PQ and HLG are of high dynamic range, and any
            other is taken for gamma 2.4.

    Light is brought to BT.709 primaries, colours outside of them are clipped, and what is brighter than half of white
    is compressed: x becomes k + (1 - k) (x - k) / (x - k + 1 - k) with k = 0.5, which keeps the slope at k and never
    reaches 1. It is applied to the brightest of R, G and B, and the others follow, so that hues stay.
    """
    light = _decoding(transfer)[image]
    if transfer == ColorTrc.ARIB_STD_B67:  # what the screen adds: BT.2100's gamma of 1.2 on the luminance
        gain = _weighted(light, BT2020_LUMA).astype(np.float64) ** 0.2 * (HLG_PEAK_NITS / WHITE_NITS)
        light *= gain.astype(np.float32)[..., None]
    light = np.clip(np.stack([_weighted(light, row) for row in BT2020_TO_BT709], axis=-1), 0, None)
    if transfer in HDR:
        peak = np.maximum(light.max(axis=-1, keepdims=True), KNEE)
        over = peak - KNEE
        light *= (KNEE + (1 - KNEE) * over / (over + 1 - KNEE)) / peak
    return np.searchsorted(STEPS, light, side="right").astype(np.uint8)


def _weighted(light: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sum of R, G and B, float32 [H, W]; a product of matrices would be added up as the CPU likes."""
    red, green, blue = (light[..., n] * weights[n] for n in range(3))
    return red + green + blue


@cache
def _decoding(transfer: int) -> NDArray[np.float32]:
    """Light of each of the 65536 signals, 1.0 at white; of HLG the light of the scene, 1.0 at its peak."""
    signal = np.linspace(0, 1, 65536)
    if transfer == ColorTrc.SMPTE2084:  # SMPTE ST 2084
        root = signal ** (1 / 78.84375)
        nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return (nits / WHITE_NITS).astype(np.float32)
    if transfer == ColorTrc.ARIB_STD_B67:  # ITU-R BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
    return (signal**GAMMA).astype(np.float32)
