"""Known colors, encoded by the formulas of the standards, decode to the same colors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from vicc_ray.video.color import BT2020_LUMA, BT2020_TO_BT709, GAMMA, HLG_PEAK_NITS, KNEE, WHITE_NITS, to_bt709
from vicc_ray.video.decode import decode_video

# FFmpeg's numbers of matrices, and the weights of red and blue in the luma of each.
BT709, UNTAGGED, BT601, BT2020 = 1, 2, 6, 9
WEIGHTS = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}
LIMITED, FULL = 1, 2
PQ, HLG = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67
Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
COLOURS = np.array(
    [[0, 0, 0], [255, 255, 255], [128, 128, 128], [220, 40, 30], [30, 200, 60], [40, 60, 210], [200, 180, 40]]
)


def yuv(rgb: NDArray[np.float64], matrix: int, color_range: int, bits: int) -> NDArray[np.uint16]:
    """Y, U, V of a color with values from 0 to 1."""
    red, blue = WEIGHTS[matrix]
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    chroma = np.array([(rgb[2] - luma) / (2 - 2 * blue), (rgb[0] - luma) / (2 - 2 * red)])
    scale = 2 ** (bits - 8)
    if color_range == LIMITED:
        return np.rint([scale * (16 + 219 * luma), *(scale * (128 + 224 * chroma))]).astype(np.uint16)
    return np.rint([(256 * scale - 1) * luma, *(128 * scale + (256 * scale - 1) * chroma)]).astype(np.uint16)


def decode_packets(
    path: Path,
    colour: NDArray[np.float64],
    matrix: int,
    color_range: int = LIMITED,
    *,
    tag: int | None = None,
    size: tuple[int, int] = (64, 64),
    format: str = "yuv420p",
    transfer: int = 2,
    primaries: int = 2,
) -> NDArray[np.int64]:
    """Color (0 to 255) that a stream of two frames of one color (0 to 1) decodes to."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, format
        context = stream.codec_context
        context.colorspace, context.color_range = matrix if tag is None else tag, color_range
        context.color_trc, context.color_primaries = transfer, primaries
        for _ in range(2):
            frame = av.VideoFrame(*size, format)
            bits = 10 if "10" in format else 8
            for plane, value in zip(frame.planes, yuv(colour, matrix, color_range, bits), strict=True):
                kind = np.uint16 if bits > 8 else np.uint8
                plane.update(np.full(plane.buffer_size // kind().itemsize, value, kind).tobytes())
            frame.colorspace, frame.color_range = context.colorspace, color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = decode_video(path, short_side=32, max_frames=10, timeout_s=60).frames
    assert np.ptp(frames.reshape(-1, 3).astype(int), axis=0).max() <= 1
    return frames[1, 16, 16].astype(int)


@pytest.mark.parametrize("format", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT709, BT601])
def test_the_declared_matrix_and_range_are_used(tmp_path: Path, matrix: int, color_range: int, format: str) -> None:
    for colour in COLOURS:
        back = decode_packets(tmp_path / "a.mkv", colour / 255, matrix, color_range, format=format)
        assert np.abs(back - colour).max() <= 4, colour


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 576), BT601), ((720, 608), BT601), ((1280, 720), BT709), ((800, 608), BT709), ((1080, 1920), BT709)],
)
def test_without_a_tag_large_frames_are_bt709_and_small_ones_bt601(
    tmp_path: Path, size: tuple[int, int], matrix: int
) -> None:
    back = decode_packets(tmp_path / "a.mkv", COLOURS[3] / 255, matrix, tag=UNTAGGED, size=size)
    assert np.abs(back - COLOURS[3]).max() <= 4


@pytest.mark.parametrize("format", ["gray", "gray10le", "ya8"])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
def test_gray_has_the_declared_range(tmp_path: Path, color_range: int, format: str) -> None:
    kind, unit = (np.uint16, 4) if "10" in format else (np.uint8, 1)
    for gray in (0, 60, 128, 255):
        stored = unit * (16 + 219 * gray / 255) if color_range == LIMITED else (256 * unit - 1) * gray / 255
        back = decode_gray(tmp_path / "a.mkv", np.full(64 * 64, round(stored), kind), color_range, format)
        assert np.abs(back - gray).max() <= 2, gray


def decode_gray(path: Path, plane: NDArray[np.generic], color_range: int, format: str) -> NDArray[np.int64]:
    """Gray value (0 to 255) that a stream of two frames of one luma level decodes to."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, format
        stream.codec_context.color_range = color_range
        for _ in range(2):
            frame = av.VideoFrame(64, 64, format)
            frame.planes[0].update((np.repeat(plane, 2) if format == "ya8" else plane).tobytes())
            frame.color_range = color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = decode_video(path, short_side=32, max_frames=10, timeout_s=60).frames
    assert np.ptp(frames) <= 1
    return frames[1, 16, 16].astype(int)


def pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal of light in units of white; SMPTE ST 2084."""
    power = (light * WHITE_NITS / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal of light in units of white on a screen of 1000 nits; ITU-R BT.2100."""
    screen = light * WHITE_NITS / HLG_PEAK_NITS
    luminance = float(screen @ BT2020_LUMA)
    scene = screen * luminance ** (1 / 1.2 - 1) if luminance > 0 else screen
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


@pytest.mark.parametrize(("curve", "transfer"), [(pq, PQ), (hlg, HLG)])
def test_hdr_colors_up_to_half_of_white_look_as_in_sdr(tmp_path: Path, curve: Curve, transfer: int) -> None:
    for colour in COLOURS:
        light = KNEE * (colour / 255) ** GAMMA
        expected = 255 * light ** (1 / GAMMA)
        signal = curve(np.maximum(np.linalg.inv(BT2020_TO_BT709) @ light, 0))
        back = decode_packets(
            tmp_path / "a.mkv", signal, BT2020, format="yuv420p10le", transfer=transfer, primaries=ColorPrimaries.BT2020
        )
        # Ten bits of PQ are coarse near black, where the gamma is steep.
        assert np.abs(back - expected).max() <= 10, (colour, back, expected)


def test_bt2020_colors_in_sdr_are_converted_to_bt709(tmp_path: Path) -> None:
    signal = np.maximum(np.linalg.inv(BT2020_TO_BT709) @ (COLOURS[3] / 255) ** GAMMA, 0) ** (1 / GAMMA)
    back = decode_packets(tmp_path / "a.mkv", signal, BT2020, format="yuv420p10le", primaries=ColorPrimaries.BT2020)
    assert np.abs(back - COLOURS[3]).max() <= 8


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_are_compressed_and_not_clipped(transfer: int) -> None:
    grays = np.repeat(np.linspace(0, 65535, 400).astype(np.uint16)[None, :, None], 3, axis=2)
    out = to_bt709(grays, transfer)[0].astype(int)
    assert (np.ptp(out, axis=1) <= 1).all()  # gray stays gray
    assert (np.diff(out[:, 1]) >= 0).all()
    white = np.searchsorted(grays[0, :, 0], 65535 * (float(pq(np.array(1.0))) if transfer == PQ else 0.75))
    assert 215 <= out[white, 1] <= 235  # reference white is bright, with headroom above it
    assert out[white, 1] + 10 < out[-1, 1] <= 255


IN_FULL = """
import hashlib
import numpy as np
from vicc_ray.video.color import to_bt709
image = np.random.default_rng(0).integers(0, 65536, size=(1500, 1500, 3), dtype=np.uint16)
print(*(hashlib.sha256(to_bt709(image, transfer)).hexdigest() for transfer in (1, 16, 18)))
"""


@pytest.mark.slow
def test_hdr_colors_are_equal_with_every_instruction_set_of_numpy() -> None:
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    fewer = {"NPY_DISABLE_CPU_FEATURES": " ".join(_multiarray_umath.__cpu_dispatch__), "OPENBLAS_CORETYPE": "Nehalem"}
    command = [sys.executable, "-c", IN_FULL]
    made = {
        subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **given}).stdout
        for given in ({}, fewer)
    }
    assert len(made) == 1


def test_unscaled_and_scaled_frames_have_equal_colors(tmp_path: Path) -> None:
    """One color, which scaling does not change: swscale has separate code for unscaled frames."""
    for colour in COLOURS:
        scaled = decode_packets(tmp_path / "a.mkv", colour / 255, BT601)
        kept = decode_video(tmp_path / "a.mkv", short_side=None, max_frames=10, timeout_s=60).frames[1, 16, 16]
        assert np.array_equal(kept, scaled), colour
