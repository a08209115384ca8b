"""Reproducibility across CPUs: each stage on the same input with ever smaller instruction sets of this CPU.

    python benchmarks/across_cpus.py VIDEOS     # writes benchmarks/across_cpus.json

Each level runs in its own process, whose libraries are limited by environment variables, FFmpeg's
``av_force_cpu_flags`` and x264's ``asm``. Stages: ``cpu_stages.py``. A stage that differs reports the fraction of
values that differ and the largest difference; features and probabilities report the distance relative to the norm.
Last, the cost of x264's CPU-independent streams: both variants alternate, and the fastest of three rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from cpu_stages import CODINGS, CRF, GROUP, HDR, SIDE, STAGES, quantized_flow
from measured import machine

from vicc_ray.datasets import list_videos
from vicc_ray.video import codec
from vicc_ray.video.decode import decode_video
from vicc_ray.video.synthetic.generate import Scene, render
from vicc_ray.video.synthetic.motions import MOTIONS

RESULT = Path(__file__).with_suffix(".json")
FRAMES = 40
AVX2 = {
    "OPENCV_CPU_DISABLE": "AVX512-SKX",
    "OPENCV_IPP": "avx2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
SSE = {
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX",
    "OPENCV_IPP": "sse42",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "JSIMD_FORCESSE2": "1",
}
PLAIN = {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1", "OPENCV_IPP": "disabled"}
LEVELS: dict[str, tuple[dict[str, str], str, int, int]] = {
    "own": ({}, "", -1, 1),
    "again": ({}, "", -1, 1),
    "4 threads": ({}, "", -1, 4),
    "AVX2": (AVX2, "AVX2", 0xFFFFF, 1),
    "SSE4.2": (SSE, "SSE4.2", 0x3FF, 1),
    "no assembler": ({**SSE, **PLAIN, "JSIMD_FORCENONE": "1"}, "0", 0, 1),
}
"""Level -> environment, x264's ``asm``, mask of FFmpeg's CPU flags, threads. The first level is the reference."""


def write_inputs(folder: Path, films: list[np.ndarray]) -> None:
    """Write the inputs of all levels."""
    np.savez(folder / "films.npz", *films)
    np.savez(folder / "tiles.npz", *(quantized_flow(film, "dis") for film in films))
    for name, (coder, pixels, options) in {**CODINGS, **HDR}.items():
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(coder, rate=25, options=options)
            stream.height, stream.width, stream.pix_fmt = 288, 352, pixels
            for frame in films[0]:
                large = cv2.resize(frame, (352, 288), interpolation=cv2.INTER_CUBIC)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
            container.mux(stream.encode(None))


def run_levels(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Values of all stages at each level."""
    values = {}
    for level, (variables, asm, mask, threads) in LEVELS.items():
        out = folder / "out.npz"
        command = [sys.executable, str(Path(__file__).with_name("cpu_stages.py")), folder, out, asm, mask, threads]
        subprocess.run([str(part) for part in command], env={**os.environ, **variables}, check=True)
        with np.load(out) as arrays:
            values[level] = dict(arrays)
    return values


def compared(stage: str, reference: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
    """ "equal", or the difference from the values with all of the CPU's instructions."""
    pairs = [(value, other[key]) for key, value in reference.items() if key.split("\t")[0] == stage]
    if all(np.array_equal(a, b) for a, b in pairs):
        return "equal"
    if any(a.shape != b.shape for a, b in pairs):
        return "other bytes"
    if pairs[0][0].dtype.kind == "f":
        return f"{max(np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in pairs):.0e} of the length"
    differences = np.concatenate([np.abs(a.astype(int) - b).ravel() for a, b in pairs])
    return f"{100 * (differences > 0).mean():.2g} % by up to {differences.max()}"


def cost(films: list[np.ndarray]) -> dict[str, Any]:
    """Encoding time and size with x264's ``cpu-independent`` relative to those without."""
    ways = {"with": codec.REPRODUCIBLE, "without": codec.REPRODUCIBLE.replace(":cpu-independent=1", "")}
    seconds, size = {way: [] for way in ways}, {}
    for _ in range(3):
        for way, codec.REPRODUCIBLE in ways.items():
            start = time.process_time()
            size[way] = sum(len(packet) for film in films for packet in codec.encode_rgb(film, GROUP, CRF))
            seconds[way].append(time.process_time() - start)
    codec.REPRODUCIBLE = ways["with"]
    rounds = [round(a / b, 3) for a, b in zip(seconds["with"], seconds["without"], strict=True)]
    best = {way: round(1000 * min(times) / sum(map(len, films)), 3) for way, times in seconds.items()}
    return {"ms_a_frame": best, "time_by_round": rounds, "bytes": round(size["with"] / size["without"], 4)}


def main() -> None:
    """Compare all levels, measure x264, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--count", type=int, default=12, help="videos, evenly spaced in the folder")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    items = list_videos(options.videos).items
    chosen = [items[n].location for n in np.linspace(0, len(items) - 1, options.count).astype(int)]
    films = [decode_video(p, short_side=SIDE, max_frames=FRAMES, timeout_s=120, grid=4).frames for p in chosen]
    synthetic = [render(name, np.random.default_rng(0), Scene(side=SIDE, frames=FRAMES)) for name in list(MOTIONS)[:4]]
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), [*films[:3], synthetic[0]])
        values = run_levels(Path(folder))
    reference = values.pop("own")
    stages = {stage: {level: compared(stage, reference, other) for level, other in values.items()} for stage in STAGES}
    result = {"machine": machine(), "stages": stages, "x264": {"real": cost(films), "synthetic": cost(synthetic)}}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
