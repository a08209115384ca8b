"""Storage codings of RGB and flow: bytes per frame, error, and time to read a clip from the middle.

    python benchmarks/storage.py VIDEOS     # writes benchmarks/storage.json and docs/images/storage.svg

Each coding stores the same decoded frames and flow (DIS) of some real videos. A read starts from the stored bytes of a
whole video and returns 32 frames from a random start, cropped and resized to 128 x 128 RGB or (u, v), on one core. The
codings alternate within a round over all videos, and the fastest round counts. Errors are those of whole frames: PSNR
of RGB, and for flow the mean end-point error, in pixels of the stored frame, relative to the flow before quantization
and downscaling.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
from chart import Panel, Point, scatter
from measured import machine

from vicc_ray.datasets import list_videos
from vicc_ray.video import codec
from vicc_ray.video.decode import decode_video
from vicc_ray.video.flow import compute_flow, dequantize, quantize, resize_flow
from vicc_ray.video.transforms import FlowCropper, RgbCropper, center_crop

RESULT = Path(__file__).with_suffix(".json")
CHART = Path(__file__).parents[1] / "docs" / "images" / "storage.svg"
CLIP, SIZE, BOUND, FRAMES = 32, 128, 20.0, 96
Blobs = list[bytes]


@dataclass(frozen=True)
class Coding:
    """Storage coding: ``encode`` takes frames or flow, ``decode`` (blobs, indices, H, W) returns pixels to crop."""

    name: str
    encode: Callable[[np.ndarray], Blobs]
    decode: Callable[[Blobs, np.ndarray, int, int], list[np.ndarray]]
    scale: int = 1


def jpeg_frames(quality: int) -> Coding:
    """One JPEG per frame, as in most datasets of frames."""

    def decode(blobs: Blobs, indices: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        pictures = (cv2.imdecode(np.frombuffer(blobs[i], np.uint8), cv2.IMREAD_COLOR) for i in indices)
        return [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures]

    return Coding(
        f"JPEG frames, quality {quality}", lambda frames: [_image(f, ".jpg", quality) for f in frames], decode
    )


def h264(group: int, crf: int) -> Coding:
    """The store's coding with other settings."""
    name = f"H.264, groups of {group}, crf {crf}" + (" (lossless)" if crf == 0 else "")
    return Coding(
        name,
        lambda frames: codec.encode_rgb(frames, group, crf),
        lambda blobs, indices, height, width: list(codec.decode_i420(blobs, group, indices, height, width)),
    )


def ffv1() -> Coding:
    """Lossless video, every frame by itself, of the same planes as H.264."""

    def encode(frames: np.ndarray) -> Blobs:
        encoder = av.CodecContext.create("ffv1", "w")
        encoder.height, encoder.width = frames.shape[1:3]
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        encoder.options, encoder.thread_count = {"g": "1", "level": "1"}, 1
        planes = [cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in frames]
        encoded = [encoder.encode(av.VideoFrame.from_ndarray(p, format="yuv420p")) for p in planes]
        return [bytes(packet) for packets in [*encoded, encoder.encode(None)] for packet in packets]

    def decode(blobs: Blobs, indices: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        decoder = av.CodecContext.create("ffv1", "r")
        decoder.height, decoder.width, decoder.pix_fmt, decoder.thread_count = height, width, "yuv420p", 1
        return [f.to_ndarray() for i in indices for f in decoder.decode(av.Packet(blobs[i]))]

    return Coding("FFV1 (lossless)", encode, decode)


def flow_tiles(scale: int, group: int, quality: int) -> Coding:
    """The store's coding of flow with other settings."""
    return Coding(
        f"JPEG tiles of {group}, 1/{scale} size, quality {quality}" if group > 1 else f"JPEG fields, 1/{scale} size",
        lambda flow: codec.encode_flow(flow, group, quality),
        lambda blobs, indices, height, width: codec.decode_flow(blobs, group, indices, height, width),
        scale,
    )


def flow_h264(scale: int, group: int, crf: int) -> Coding:
    """Flow as the luma of H.264: u above v, gray chroma."""

    def encode(flow: np.ndarray) -> Blobs:
        stacked = np.concatenate([flow[..., 0], flow[..., 1]], axis=1)
        return codec.encode_rgb(np.repeat(stacked[..., None], 3, axis=-1), group, crf)

    def decode(blobs: Blobs, indices: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        planes = codec.decode_i420(blobs, group, indices, 2 * height, width)
        levels = [cv2.LUT(p[: 2 * height], _FULL_RANGE) for p in planes]
        return [np.hstack([p[:height], p[height:]]) for p in levels]

    return Coding(f"H.264, groups of {group}, 1/{scale} size, crf {crf}", encode, decode, scale)


_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)


def flow_png() -> Coding:
    """Lossless PNG images."""

    def decode(blobs: Blobs, indices: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        return [cv2.imdecode(np.frombuffer(blobs[i], np.uint8), cv2.IMREAD_GRAYSCALE) for i in indices]

    return Coding(
        "PNG (lossless)", lambda flow: [_image(np.hstack([*f.transpose(2, 0, 1)]), ".png") for f in flow], decode
    )


def flow_zstd(scale: int) -> Coding:
    """Lossless zstd of differences between neighboring pixels."""
    compressor = pa.Codec("zstd", 3)

    def encode(flow: np.ndarray) -> Blobs:
        fields = np.concatenate([flow[..., 0], flow[..., 1]], axis=2)
        steps = np.diff(fields, axis=2, prepend=np.uint8(0))
        return [compressor.compress(step.tobytes(), asbytes=True) for step in steps]

    def decode(blobs: Blobs, indices: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        raw = (np.frombuffer(compressor.decompress(blobs[i], 2 * height * width), np.uint8) for i in indices)
        return [np.cumsum(steps.reshape(height, 2 * width), axis=1, dtype=np.uint8) for steps in raw]

    return Coding(f"zstd (lossless), 1/{scale} size", encode, decode, scale)


RGB = (
    *(jpeg_frames(quality) for quality in (85, 95)),
    *(h264(group, 18) for group in (1, 4, 8, 16, 32)),
    *(h264(8, crf) for crf in (13, 23, 0)),
    ffv1(),
)
FLOW = (
    flow_tiles(1, 1, 95),
    *(flow_tiles(scale, 8, 95) for scale in (1, 2, 4)),
    flow_tiles(2, 8, 85),
    flow_h264(1, 8, 10),
    flow_h264(2, 8, 10),
    flow_zstd(1),
    flow_zstd(2),
    flow_png(),
)


@dataclass(frozen=True)
class Film:
    """The pixels of one video, frames uint8 [T, H, W, 3] and flow float32 [T, H, W, 2], H and W multiples of 4."""

    frames: np.ndarray
    flow: np.ndarray


def load(path: Path, short_side: int) -> Film:
    """Decode a video and compute its flow."""
    video = decode_video(path, short_side=short_side, max_frames=FRAMES, timeout_s=120, grid=4)
    return Film(video.frames, compute_flow(video.frames, "dis"))


def measure(films: list[Film], codings: tuple[Coding, ...], rounds: int) -> list[dict[str, Any]]:
    """Bytes, error and times of each coding of RGB or of flow."""
    stored, rows = {}, []
    for coding in codings:
        start = time.perf_counter()
        stored[coding.name] = [coding.encode(_input_of(film, coding)) for film in films]
        seconds = time.perf_counter() - start
        frames = sum(len(film.frames) for film in films)
        rows.append(
            {
                "coding": coding.name,
                "bytes_a_frame": round(sum(len(b) for blobs in stored[coding.name] for b in blobs) / frames),
                **_errors(coding, films, stored[coding.name]),
                "encode_ms_a_frame": round(1000 * seconds / frames, 3),
            }
        )
    best = {coding.name: float("inf") for coding in codings}
    for k in range(rounds):
        for coding in codings:
            start = time.perf_counter()
            for film, blobs in zip(films, stored[coding.name], strict=True):
                _read_clip(coding, film, blobs, np.random.default_rng(k))
            best[coding.name] = min(best[coding.name], (time.perf_counter() - start) / len(films))
    return [{**row, "read_ms_a_clip": round(1000 * best[row["coding"]], 2)} for row in rows]


def _input_of(film: Film, coding: Coding) -> np.ndarray:
    if coding in RGB:
        return film.frames
    height, width = film.flow.shape[1:3]
    size = height // coding.scale, width // coding.scale
    return np.stack([quantize(resize_flow(field, size, (height, width)), BOUND) for field in film.flow])


def _read_clip(coding: Coding, film: Film, blobs: Blobs, rng: np.random.Generator) -> None:
    frames, height, width = film.frames.shape[:3]
    indices = (rng.integers(0, max(1, frames - CLIP + 1)) + np.arange(CLIP)) % frames
    pixels = coding.decode(blobs, indices, height // coding.scale, width // coding.scale)
    crop = center_crop(height, width, 4)
    out = np.empty((CLIP, SIZE, SIZE, 3 if coding in RGB else 2), np.uint8)
    if coding in FLOW:
        flow = FlowCropper(crop, SIZE, coding.scale)
        for field, into in zip(pixels, out, strict=True):
            flow.crop(field, into)
    elif pixels[0].ndim == 2:
        rgb = RgbCropper(crop, SIZE)
        for picture, into in zip(pixels, out, strict=True):
            halves = picture[height:].reshape(2, height // 2, width // 2)
            rgb.crop((picture[:height], *halves), into)
    else:
        rows, columns = slice(crop.top, crop.top + crop.height), slice(crop.left, crop.left + crop.width)
        for n, picture in enumerate(pixels):
            cv2.resize(picture[rows, columns], (SIZE, SIZE), dst=out[n])


def _errors(coding: Coding, films: list[Film], stored: list[Blobs]) -> dict[str, float]:
    errors = []
    for film, blobs in zip(films, stored, strict=True):
        frames, height, width = film.frames.shape[:3]
        small = height // coding.scale, width // coding.scale
        pixels = coding.decode(blobs, np.arange(frames), *small)
        if coding in FLOW:
            fields = (np.dstack([p[:, : small[1]], p[:, small[1] :]]) for p in pixels)
            back = np.stack([cv2.resize(dequantize(field, BOUND), (width, height)) for field in fields])
            errors.append(np.linalg.norm(back - film.flow, axis=-1).mean())
        else:
            pictures = (p if p.ndim == 3 else cv2.cvtColor(p, cv2.COLOR_YUV2RGB_I420) for p in pixels)
            errors.append(
                np.mean([(p.astype(np.float32) - f) ** 2 for p, f in zip(pictures, film.frames, strict=True)])
            )
    if coding in FLOW:
        return {"end_point_error": round(float(np.mean(errors)), 4)}
    return {"psnr": round(float(np.mean(20 * np.log10(255 / np.sqrt(errors)))), 2)}


def _image(picture: np.ndarray, suffix: str, quality: int = 95) -> bytes:
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else [])[1].tobytes()


def main() -> None:
    """Measure both streams at each short side, and write table and chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 240])
    parser.add_argument("--count", type=int, default=12, help="videos, evenly spaced in the folder")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    items = list_videos(options.videos).items
    chosen = [items[i].location for i in np.linspace(0, len(items) - 1, options.count).astype(int)]
    tables = {}
    for side in options.sides:
        films = [load(path, side) for path in chosen]
        tables[str(side)] = {
            kind: measure(films, which, options.rounds) for kind, which in (("rgb", RGB), ("flow", FLOW))
        }
        print(json.dumps(tables[str(side)], indent=1))
    result = {"machine": machine(), "videos": options.count, "clip": CLIP, "by_short_side": tables}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    CHART.write_text(scatter([_panel(kind, rows) for kind, rows in tables[str(options.sides[0])].items()]))


def _panel(kind: str, rows: list[dict[str, Any]]) -> Panel:
    chosen = {"rgb": h264(8, 18).name, "flow": flow_tiles(2, 8, 95).name}[kind]
    error = "psnr" if kind == "rgb" else "end_point_error"
    unit = "{} dB" if kind == "rgb" else "error {} px"
    points = [
        Point(
            row["bytes_a_frame"],
            row["read_ms_a_clip"],
            f"{row['coding']} ({unit.format(row[error])})",
            row["coding"] == chosen,
        )
        for row in rows
    ]
    return Panel({"rgb": "RGB", "flow": "flow"}[kind], "bytes a frame", "ms to read a clip of 32", points)


if __name__ == "__main__":
    main()
