"""Conversion of decoded frames to 8-bit RGB in standard dynamic range: BT.709 primaries, gamma 2.4.

Matrix and range (BT.601 or BT.709, limited or full) are those that the stream declares. Without a declared matrix,
frames wider than 1024 or higher than 576 pixels are BT.709 and smaller ones BT.601, as in players. HDR streams (PQ,
HLG) and BT.2020 colors are converted by :func:`to_bt709`; swscale alone keeps the values, which look gray and pale.
Shapes: H height, W width.
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
"""Largest width and height of a frame that counts as BT.601 if it declares no matrix."""
IMX_SIZE = (720, 608)
"""Size of IMX, which is standard definition too: it has 32 lines of data above the picture."""
WHITE_NITS = 203.0
"""Luminance of reference white in a PQ stream (ITU-R BT.2408); light 1.0 below."""
HLG_PEAK_NITS = 1000.0
"""Peak luminance of an HLG stream on the reference display of BT.2100."""
KNEE = 0.5
"""Fraction of reference white up to which light is not compressed."""
GAMMA = 2.4
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area scaling with equal results on every CPU. Without the two flags, swscale's code for unscaled frames rounds down
by an amount that depends on the CPU."""
THRESHOLDS = (((np.arange(255) + 0.5) / 255) ** GAMMA).astype(np.float32)
"""Smallest light of each of the values 1 to 255."""


class RgbConverter:
    """Converter of the frames of one stream to RGB."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Scale a frame and convert it to uint8 [H, W, 3].

        Raises:
            av.FFmpegError, ValueError: the pixel format cannot be converted.
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
    """Matrix to assume; None means the declared one, or BT.601 if none is declared."""
    size = frame.width, frame.height
    large = (size[0] > SD_SIZE[0] or size[1] > SD_SIZE[1]) and size != IMX_SIZE
    return Colorspace.ITU709 if frame.colorspace == UNTAGGED and large else None


def _is_limited_gray(frame: VideoFrame) -> bool:
    """Whether the frame is gray in limited range, because swscale treats all gray as full range."""
    is_grey = sum(not component.is_alpha for component in frame.format.components) == 1 and not frame.format.has_palette
    return is_grey and frame.color_range == ColorRange.MPEG


def _expanded(gray: NDArray[Any]) -> NDArray[Any]:
    """Expand limited range (for 8 bits: 16 to 235) to full range of the same dtype."""
    unit = (np.iinfo(gray.dtype).max + 1) // 256
    full = (gray.astype(np.float32) - 16 * unit) * (np.iinfo(gray.dtype).max / (219 * unit))
    return np.clip(np.rint(full), 0, np.iinfo(gray.dtype).max).astype(gray.dtype)


def to_bt709(image: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Convert a BT.2020 image, uint16 [H, W, 3] in full range, to BT.709 uint8 [H, W, 3].

    Args:
        transfer: FFmpeg's number of the transfer function; PQ and HLG are HDR, any other counts as gamma 2.4.

    Light is converted to BT.709 primaries, and colors outside their gamut are clipped. In HDR, light above half of
    white is compressed: x becomes k + (1 - k) (x - k) / (x - k + 1 - k) with k = 0.5, smooth at k and below 1. The
    factor of the largest of R, G and B applies to all three, so that hues are kept.
    """
    light = _decoding(transfer)[image]
    if transfer == ColorTrc.ARIB_STD_B67:  # system gamma of the display: 1.2 on the luminance (BT.2100)
        gain = _weighted(light, BT2020_LUMA).astype(np.float64) ** 0.2 * (HLG_PEAK_NITS / WHITE_NITS)
        light *= gain.astype(np.float32)[..., None]
    light = np.clip(np.stack([_weighted(light, row) for row in BT2020_TO_BT709], axis=-1), 0, None)
    if transfer in HDR:
        peak = np.maximum(light.max(axis=-1, keepdims=True), KNEE)
        over = peak - KNEE
        light *= (KNEE + (1 - KNEE) * over / (over + 1 - KNEE)) / peak
    return np.searchsorted(THRESHOLDS, light, side="right").astype(np.uint8)


def _weighted(light: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sum of R, G and B, float32 [H, W]; the order of sums in a matrix product depends on the CPU."""
    red, green, blue = (light[..., n] * weights[n] for n in range(3))
    return red + green + blue


@cache
def _decoding(transfer: int) -> NDArray[np.float32]:
    """Light of each of the 65536 signals: 1.0 is reference white; for HLG, scene light with 1.0 at its peak."""
    signal = np.linspace(0, 1, 65536)
    if transfer == ColorTrc.SMPTE2084:  # SMPTE ST 2084
        root = signal ** (1 / 78.84375)
        nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return (nits / WHITE_NITS).astype(np.float32)
    if transfer == ColorTrc.ARIB_STD_B67:  # ITU-R BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
    return (signal**GAMMA).astype(np.float32)
