"""Stages that `benchmarks/across_cpus.py` compares on fixed inputs; runs as a separate process.

    python benchmarks/cpu_stages.py INPUTS OUT ASM MASK THREADS

Writes OUT, an npz of each stage's values. ASM is x264's ``asm`` ("": its default), MASK is applied to FFmpeg's CPU
flags (-1: all), THREADS is the thread count of OpenCV and torch.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from vicc_ray.config import ClipConfig, ModelConfig, PrepareConfig
from vicc_ray.evaluation.linear_probe import fit_quick_probe
from vicc_ray.evaluation.video_features import embed_windows
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.input_convention import RGB, ClipInput
from vicc_ray.search.thumbnail import make_thumbnail
from vicc_ray.sharding.build_shard import build_shard
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.video import codec
from vicc_ray.video.appearance import draw_appearance
from vicc_ray.video.decode import decode_video
from vicc_ray.video.flow import compute_flow, quantize, resize_flow
from vicc_ray.video.synthetic.generate import Scene, render, write_h264
from vicc_ray.video.synthetic.motions import MOTIONS
from vicc_ray.video.transforms import FlowCropper, RgbCropper, center_crop, draw_crop

SIDE, GROUP, CRF, BOUND, CLIP = 128, 8, 18, 20.0, 112
CODINGS = {
    "h264.mp4": ("libx264", "yuv420p", {}),
    "interlaced.mp4": ("libx264", "yuv420p", {"x264-params": "tff=1"}),
    "hevc.mp4": ("libx265", "yuv420p", {"x265-params": "log-level=error"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"b": "2000000"}),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", {"b": "4000000"}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {"b": "8000000"}),
    "vp8.webm": ("libvpx", "yuv420p", {"b": "1000000", "deadline": "realtime"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"b": "1000000", "deadline": "realtime"}),
}
PQ = "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
HDR = {"hdr.mp4": ("libx265", "yuv420p10le", {"x265-params": PQ})}
Values = list[np.ndarray]


def loaded(folder: Path, name: str = "films") -> Values:
    """Arrays of the input."""
    with np.load(folder / f"{name}.npz") as arrays:
        return [arrays[key] for key in arrays.files]


def as_bytes(blobs: list[list[bytes]]) -> Values:
    """Streams as byte arrays."""
    return [np.frombuffer(b"".join(parts), np.uint8) for parts in blobs]


def decoded(folder: Path) -> Values:
    """Planes of all files as the decoders return them."""
    planes = []
    for name in {**CODINGS, **HDR}:
        with av.open(str(folder / name)) as container:
            planes += [np.asarray(frame.to_ndarray()) for frame in container.decode(video=0)]
    return planes


def rgb_frames(folder: Path, names: dict[str, object]) -> Values:
    """RGB frames as `prepare` decodes them, scaled and at native size."""
    paths = [(folder / name, side) for name in names for side in (SIDE, None)]
    return [decode_video(p, short_side=side, max_frames=99, timeout_s=120, grid=4).frames for p, side in paths]


def quantized_flow(film: np.ndarray, method: str) -> np.ndarray:
    """Flow as stored: quantized, at half the size of the frames."""
    height, width = film.shape[1:3]
    half = height // 2, width // 2
    return np.stack([quantize(resize_flow(x, half, (height, width)), BOUND) for x in compute_flow(film, method)])


def flow(folder: Path, method: str) -> Values:
    """Quantized flow as stored; only the first few frames for TV-L1."""
    films = [film[: 5 if method == "tvl1" else None] for film in loaded(folder)]
    return [quantized_flow(film, method) for film in films]


def crops(folder: Path) -> Values:
    """Crops of RGB and flow as in training."""
    cropped = []
    for film, tiles in zip(loaded(folder), loaded(folder, "tiles"), strict=True):
        height, width = film.shape[1:3]
        crop = center_crop(height, width, 4)
        croppers = RgbCropper(crop, CLIP), FlowCropper(crop, CLIP, 2, rescale=True)
        clips = [np.empty((len(film), CLIP, CLIP, channels), np.uint8) for channels in (3, 2)]
        packets, stored = codec.encode_rgb(film, GROUP, CRF), codec.encode_flow(tiles, GROUP, 95)
        for n, planes in codec.decode_planes(packets, GROUP, range(len(film)), *film.shape[1:3]):
            croppers[0].crop(planes, clips[0][n])
        for n, field in codec.decode_fields(stored, GROUP, range(len(film)), *tiles.shape[1:3]):
            croppers[1].crop(field, clips[1][n])
        cropped += clips
    return cropped


def draws(_: Path) -> Values:
    """Crop boxes and appearance parameters of 5,000 samples."""
    rng, clip = np.random.default_rng(0), ClipConfig()
    boxes = [draw_crop(rng, 128, 172, clip, 4) for _ in range(5000)]
    geometry = np.array([(c.top, c.left, c.height, c.width, c.flip) for c in boxes])
    return [geometry, np.stack([draw_appearance(rng, clip) for _ in range(5000)])]


def features(folder: Path, backbone: str) -> Values:
    """Features of an untrained encoder."""
    torch.manual_seed(0)
    encoder, cpu = build_encoder(ModelConfig(backbone=backbone)).eval(), torch.device("cpu")
    clip = [film[None, :16, :CLIP, :CLIP] for film in loaded(folder)]
    return [embed_windows(encoder, ClipInput(RGB, RGB.unit), np.ascontiguousarray(x), 1, cpu) for x in clip]


def probe(_: Path) -> Values:
    """Probabilities of a cached probe on random features."""
    rng, truth = np.random.default_rng(0), np.arange(60) % 3
    x = rng.normal(size=(60, 32)).astype(np.float32)
    return [fit_quick_probe(x, truth, np.arange(60).astype(str), 3).probabilities(x)]


def shard(folder: Path) -> Values:
    """Bytes of one shard of a clip store."""
    with tempfile.TemporaryDirectory() as store:
        videos = [(folder / name, PlannedVideo(name, "", name, "")) for name in {**CODINGS, **HDR}]
        build_shard(Path(store), 0, videos, PrepareConfig(short_side=SIDE))
        return as_bytes([[(Path(store) / "part-00000.parquet").read_bytes()]])


def synthetic(folder: Path) -> Values:
    """Files of the input videos as `make-videos` writes them."""
    with tempfile.TemporaryDirectory() as out:
        paths = [Path(out) / f"{n}.mp4" for n, _ in enumerate(loaded(folder))]
        for path, film in zip(paths, loaded(folder), strict=True):
            write_h264(path, film, 25)
        return as_bytes([[path.read_bytes()] for path in paths])


STAGES: dict[str, Callable[[Path], Values]] = {
    "frames as the decoders give them": decoded,
    "RGB frames": lambda folder: rgb_frames(folder, CODINGS),
    "RGB frames of HDR": lambda folder: rgb_frames(folder, HDR),
    "flow, DIS": lambda folder: flow(folder, "dis"),
    "flow, Farneback": lambda folder: flow(folder, "farneback"),
    "flow, TV-L1": lambda folder: flow(folder, "tvl1"),
    "H.264 of the store": lambda folder: as_bytes([codec.encode_rgb(f, GROUP, CRF) for f in loaded(folder)]),
    "JPEG of the flow": lambda folder: as_bytes([codec.encode_flow(t, GROUP, 95) for t in loaded(folder, "tiles")]),
    "a part of the store, DIS": shard,
    "clips out of the store": crops,
    "draws of crops and appearance": draws,
    "thumbnails": lambda folder: as_bytes([[make_thumbnail([*film[:, :SIDE, :SIDE]], 25)] for film in loaded(folder)]),
    "synthetic frames": lambda _: [render(name, np.random.default_rng(1), Scene()) for name in list(MOTIONS)[:3]],
    "synthetic files of the same frames": synthetic,
    "features, tiny": lambda folder: features(folder, "tiny"),
    "features, S3D": lambda folder: features(folder, "s3d"),
    "features, R(2+1)D": lambda folder: features(folder, "r2plus1d-small"),
    "quick probe": probe,
}


def main() -> None:
    """Run all stages."""
    folder, out, asm, mask, threads = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:])
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    if mask >= 0:
        library = ctypes.CDLL(str(next((Path(av.__file__).parents[1] / "av.libs").glob("libavutil*"))))
        library.av_force_cpu_flags(library.av_get_cpu_flags() & mask)
    if asm:
        codec.REPRODUCIBLE += f":asm={asm}"
    results = {name: stage(folder) for name, stage in STAGES.items()}
    np.savez(out, **{f"{name}\t{n}": value for name, values in results.items() for n, value in enumerate(values)})


if __name__ == "__main__":
    main()
