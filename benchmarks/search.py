"""Search latency in an index of 100,000 videos, and sizes of animated thumbnails in several formats.

    python benchmarks/search.py FOLDER VIDEOS > benchmarks/search.json

writes an index of synthetic features in the real format to FOLDER (6 GB for 100,000 videos of 1,024 features and ten
windows), serves it with `vicc-ray serve`, and queries it over HTTP: with videos of the index, and with real videos of
VIDEOS, encoded by an S3D with random weights. The thumbnails are of VIDEOS too.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from measured import machine
from numpy.typing import NDArray
from PIL import Image

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.clip_store.writer import open_shard_writer
from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.datasets import list_videos
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.search.features import VideoFeatures
from vicc_ray.search.index_format import (
    ENCODER_FILE,
    FORMAT,
    INDEX_FILE,
    VIDEOS_FILE,
    Description,
    part_row,
    write_videos,
)
from vicc_ray.search.index_schema import PART_SCHEMA
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.thumbnail import FRAMES, RATE, SIDE, make_thumbnail, thumbnail_frames
from vicc_ray.search.video_folder import UNKNOWN
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.video.decode import decode_video

A_PART, WINDOWS = 64, 10
INDEX_QUERIES, FILE_QUERIES = 24, 10
"""Number of queries with videos of the index, and with files."""
Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    files = [Path(str(item.location)) for item in list_videos(options.videos).items]
    clips = thumbnails(files[:12])
    start, new = time.perf_counter(), not (options.folder / VIDEOS_FILE).exists()
    if new:
        make_index(options.folder, options.count, files[0])
    written = time.perf_counter() - start
    print(f"index written in {written:.0f} s", file=sys.stderr)
    result = {
        "machine": {**machine(), "load_average": [round(load, 1) for load in os.getloadavg()]},
        "index": {**sizes(options.folder), **({"written_s": round(written, 1)} if new else {})},
        "search": measure(options.folder, files),
        "thumbnails": clips,
    }
    print(json.dumps(result, indent=1))


def make_index(folder: Path, count: int, thumbnail_source: Path) -> None:
    """Write videos in a thousand clusters, as real ones have; all share one thumbnail."""
    clip, config = ClipConfig(frames=32, size=128), Config()
    torch.manual_seed(0)
    model = ModelConfig(backbone="s3d")
    weights = EncoderWeights("rgb", model, clip, dict(build_encoder(model).state_dict()))
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / ENCODER_FILE, weights)
    videos = str((folder / "videos").resolve())
    about = {"format": FORMAT, "fingerprint": weights.fingerprint, "backbone": "s3d", "videos": videos}
    Description(**about, features=1024, spec=WindowSpec.of(clip, 1.0, config)).write(folder)
    video = decode_video(thumbnail_source, short_side=128, max_frames=1000, timeout_s=60, grid=2)
    thumbnail = make_thumbnail(squares(video.frames), video.fps)
    rng = np.random.default_rng(0)
    groups = rng.gamma(1.0, size=(1000, 1024)).astype(np.float32)
    spans = np.stack([np.arange(WINDOWS), np.arange(WINDOWS) + 1.28], 1).astype(np.float32)
    parts = -(-count // A_PART)
    for part in range(parts):
        with open_shard_writer(shard_path(folder, part), PART_SCHEMA) as writer:
            for number in range(part * A_PART, min(count, (part + 1) * A_PART)):
                center = groups[rng.integers(1000)] + rng.gamma(0.5, size=1024)
                windows = (center + rng.gamma(0.3, size=(WINDOWS, 1024))).astype(np.float32)
                features = VideoFeatures(windows, spans, 11.0, thumbnail)
                id = f"{number % 400:03d}/{number:06d}.mp4"
                writer.write(part_row(id, f"class {number % 400}", "", id.encode(), UNKNOWN, features))
    write_videos(folder, parts, 1024)


def sizes(folder: Path) -> dict[str, object]:
    """Sizes of the index on disk."""
    parts = [path.stat().st_size for path in folder.glob("part-*.parquet")]
    return {
        "videos": len(SearchIndex(folder)),
        "features": Description.read(folder).features,
        "windows_a_video": WINDOWS,
        "parts_mb": round(sum(parts) / 1e6, 1),
        "parts": len(parts),
        "videos_arrow_mb": round((folder / VIDEOS_FILE).stat().st_size / 1e6, 1),
    }


def measure(folder: Path, files: Sequence[Path]) -> dict[str, object]:
    """Latency of a server's answers in milliseconds, and its peak memory."""
    drop_page_cache(folder)
    start = time.perf_counter()
    options = ["--port", "0", "--time-limit", "60", "--videos", "none", "--no-token"]
    command = [sys.executable, "-m", "vicc_ray", "serve", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            started = time.perf_counter() - start
            port = int(re.findall(r":(\d+)/", line)[0])
            count = len(SearchIndex(folder))
            cold = timed(port, "/api/neighbors/17")
            rows = np.random.default_rng(1).integers(count, size=INDEX_QUERIES)
            timed(port, "/api/query", files[0].read_bytes())
            used = [processor_ms(server.pid)]
            by_id = [timed(port, f"/api/neighbors/{row}") for row in rows]
            used.append(processor_ms(server.pid))
            by_video = [timed(port, "/api/query", file.read_bytes()) for file in files[:FILE_QUERIES]]
            used.append(processor_ms(server.pid))
            status = Path(f"/proc/{server.pid}/status").read_text()
        finally:
            server.terminate()
    lengths = [length_of(file) for file in files[:FILE_QUERIES]]
    return {
        "start_s": round(started, 2),
        "first_answer_from_disk_ms": cold["answer"],
        "by_id_ms": {**summaries(by_id), "processor_time": round((used[1] - used[0]) / len(by_id), 1)},
        "by_video_ms": {**summaries(by_video), "processor_time": round((used[2] - used[1]) / len(by_video), 1)},
        "query_seconds": summary(lengths),
        "peak_memory_mb": round(int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024),
    }


def processor_ms(pid: int) -> float:
    """CPU time of a process in milliseconds, without its children (which decode)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drop_page_cache(folder: Path) -> None:
    """Drop the index from the page cache."""
    for path in (*folder.glob("part-*.parquet"), folder / VIDEOS_FILE, folder / INDEX_FILE):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(port: int, path: str, body: bytes | None = None) -> dict[str, float]:
    """Milliseconds of one request, which must succeed, and of its steps as the server reports them."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST" if body else "GET", path, body)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {content}")
    return {"answer": round(1000 * (time.perf_counter() - start), 1), **content["took_ms"]}


def summaries(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: summary([row[name] for row in rows]) for name in rows[0]}


def summary(values: Sequence[float]) -> dict[str, float]:
    return {
        **{name: round(float(np.percentile(values, share)), 1) for name, share in (("median", 50), ("p95", 95))},
        "max": round(max(values), 1),
    }


def length_of(file: Path) -> float:
    video = decode_video(file, short_side=16, max_frames=10_000, timeout_s=60)
    return len(video.frames) / video.fps


def squares(frames: Pixels) -> list[Pixels]:
    side = min(frames.shape[1:3])
    top, left = (frames.shape[1] - side) // 2, (frames.shape[2] - side) // 2
    return [frame[top : top + side, left : left + side] for frame in frames]


def thumbnails(files: Sequence[Path]) -> dict[str, object]:
    """Bytes and PSNR of a thumbnail's frames in four formats."""
    by_format: dict[str, list[tuple[int, float]]] = {}
    for file in files:
        video = decode_video(file, short_side=128, max_frames=1000, timeout_s=60, grid=2)
        square = squares(video.frames)
        shown = [
            np.asarray(cv2.resize(square[i], (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
            for i in thumbnail_frames(len(square), video.fps)
        ]
        by_format.setdefault("H.264 in MP4, as kept", []).append(
            size_and_psnr(shown, make_thumbnail(square, video.fps))
        )
        for crf in (20, 30):
            by_format.setdefault(f"H.264 in MP4, crf {crf}", []).append(
                size_and_psnr(shown, encode_video_bytes(shown, "libx264", "mp4", crf))
            )
        for crf in (36, 44):
            coded = encode_video_bytes(shown, "libvpx-vp9", "webm", crf)
            by_format.setdefault(f"VP9 in WebM, crf {crf}", []).append(size_and_psnr(shown, coded))
        for quality in (20, 50):
            by_format.setdefault(f"animated WebP, quality {quality}", []).append(
                size_and_psnr(shown, webp(shown, quality))
            )
            by_format.setdefault(f"frames in a row in one WebP, quality {quality}", []).append(
                size_and_psnr(shown, strip(shown, quality))
            )
    described = {
        name: {
            "kb": round(float(np.mean([s for s, _ in rows])) / 1000, 1),
            "psnr_db": round(float(np.mean([p for _, p in rows])), 1),
        }
        for name, rows in by_format.items()
    }
    return {"videos": len(files), "frames": FRAMES, "rate": RATE, "side": SIDE, "formats": described}


def size_and_psnr(shown: list[Pixels], content: bytes) -> tuple[int, float]:
    """Size in bytes, and PSNR of the decoded frames in dB."""
    if content[:4] == b"RIFF":
        image = Image.open(io.BytesIO(content))
        count = getattr(image, "n_frames", 1)
        if count > 1:
            decoded = []
            for n in range(count):
                image.seek(n)
                decoded.append(np.asarray(image.convert("RGB")))
        else:
            decoded = list(np.asarray(image.convert("RGB")).reshape(SIDE, -1, SIDE, 3).transpose(1, 0, 2, 3))
    else:
        with av.open(io.BytesIO(content)) as thumbnail:
            decoded = [frame.to_ndarray(format="rgb24") for frame in thumbnail.decode(video=0)]
    count = min(len(decoded), len(shown))
    error = np.mean((np.stack(decoded[:count]).astype(float) - np.stack(shown[:count])) ** 2)
    return len(content), 10 * np.log10(255**2 / error)


def encode_video_bytes(shown: list[Pixels], codec: str, container: str, crf: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.height = stream.width = SIDE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, RATE)
        stream.options = {"crf": str(crf), "preset": "slow"} if codec == "libx264" else {"crf": str(crf), "b": "0"}
        for picture in shown:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return out.getvalue()


def webp(shown: list[Pixels], quality: int) -> bytes:
    out = io.BytesIO()
    images = [Image.fromarray(picture) for picture in shown]
    images[0].save(out, "webp", save_all=True, append_images=images[1:], quality=quality, duration=1000 // RATE, loop=0)
    return out.getvalue()


def strip(shown: list[Pixels], quality: int) -> bytes:
    row = np.concatenate(shown, axis=1)
    return bytes(cv2.imencode(".webp", row[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes())


if __name__ == "__main__":
    main()
