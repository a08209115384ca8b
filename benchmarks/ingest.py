"""Loading throughput of the clip store, compared with a conventional loader on the same videos in the same run.

    pip install -e '.[bench]'
    python benchmarks/ingest.py VIDEOS OUT     # writes benchmarks/ingest.json

A sample is two clips of 32 frames at 128 x 128, RGB and flow. Videos shorter than ``--frames`` (186: UCF101's mean)
are repeated forward and backward. The plain loader (JPEG frames in LMDB, PIL, jitter and blur on every frame, PyTorch's
DataLoader) stores them with short sides of 150 and 240 pixels; the clip store with these and its default of 128, and
with 240 also with prepare.flow_downscale 4. Measured like Ray's ingest test, with all cores for loading:

  bare          samples/s of one process that builds batches in a loop, without Ray
  transport     samples/s of the pipeline with a constant batch: the upper limit of the transport
  free          samples/s of the pipeline with a consumer that does nothing; seconds to the first batch; peak bytes in
                the object store, bytes spilled
  steady        wait in milliseconds of a consumer whose step takes 1.5 times as long as loading
  rounds        the plain loader and the pipeline (as in free), alternating: samples/s of wall time, and samples per
                second of CPU time of all processes but the consumer, which other load disturbs least; the ratios are
                medians of these

The store's samples are uint8; jitter, grayscale and blur run on the training device. ``appearance`` is their cost on
one core of this CPU, for machines without an accelerator.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from films import BOUND, choose, long_film, make_store
from measured import machine
from plain_loader import PlainClips, plain_loader, write_lmdb
from processes import object_store, watched

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.config import Config, RayConfig
from vicc_ray.models.input_convention import RGB
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.train.loader import batches
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder
from vicc_ray.video.appearance import draw_appearance
from vicc_ray.video.flow import compute_flow, quantize

RESULT = Path(__file__).with_suffix(".json")
CLIP = Config().clip
STREAMS = ("rgb", "flow")
BATCH = 16
CPUS = os.cpu_count() or 1
OBJECT_STORE_MB = 1024
STORES = {"128": (128, 2), "150": (150, 2), "240": (240, 2), "240, flow 1/4": (240, 4)}
"""Short side and prepare.flow_downscale."""


def main() -> None:
    """Measure each short side, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--frames", type=int, default=186)
    parser.add_argument("--rounds", type=int, default=3, help="of both loaders, alternating")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    paths = choose(options.videos, options.count)
    result: dict[str, Any] = {"machine": machine(), "batch": BATCH, "videos": len(paths), "frames": options.frames}
    result["appearance_ms_a_sample"] = appearance_ms()
    result["plain"] = {str(side): plain(options, paths, side) for side in (150, 240)}
    with ray_session(RayConfig(cpus=CPUS, object_store_mb=OBJECT_STORE_MB)):
        result["store"] = {name: ours(options, paths, name) for name in STORES}
        rounds = [one_round(options, paths) for _ in range(options.rounds)]
    result["rounds"] = rounds
    result["ratio_a_core"] = {
        f"store at {side}, plain at {other}": {
            by: round(statistics.median(r[f"store {side}"][by] / r[f"plain {other}"][by] for r in rounds), 2)
            for by in ("samples_a_s", "samples_a_core_s")
        }
        for side, other in (("128", 150), ("128", 240), ("150", 150), ("240", 240), ("240, flow 1/4", 240))
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def one_round(options: argparse.Namespace, paths: list[Path]) -> dict[str, dict[str, float]]:
    """Measure both loaders at each size in sequence, so that other load affects both."""
    results = {}
    for side in (150, 240):
        results[f"plain {side}"] = _work(_plain(options, paths, side), options.seconds)
        for ours_at in {150: ("150", "128"), 240: ("240", "240, flow 1/4")}[side]:
            with closing(_batches(_builder(options, paths, ours_at))) as loader:
                results[f"store {ours_at}"] = _work(loader, options.seconds)
    print(json.dumps(results), flush=True)
    return results


def _work(loader: Iterator[Any], seconds: float) -> dict[str, float]:
    """Samples per second of wall time and of the other processes' CPU time, after a warm-up."""
    for _ in range(5):
        next(loader)
    with watched() as usage:
        start = time.time()
        rate = _rate(loader, seconds)
        ended = time.time()
    work = usage.cpu_between(start, ended)
    return {"samples_a_s": round(rate, 2), "samples_a_core_s": round(rate * (ended - start) / work, 2)}


def plain(options: argparse.Namespace, paths: list[Path], side: int) -> dict[str, float]:
    """Samples per second of the plain loader with one process per core."""
    loader = _plain(options, paths, side)
    for _ in range(CPUS * 2):  # prefetched batches
        next(loader)
    rate = _rate(loader, options.seconds)
    stored = sum(file.stat().st_size for file in _lmdb(options, side).glob("data.mdb"))
    return {**_rates(rate), "bytes_a_frame": round(stored / len(paths) / options.frames)}


def _plain(options: argparse.Namespace, paths: list[Path], side: int) -> Iterator[Any]:
    path = _lmdb(options, side)
    if not path.exists():
        path.mkdir(parents=True)
        films = (long_film(p, side, options.frames) for p in paths)
        write_lmdb(path, ((film, quantize(compute_flow(film, "dis"), BOUND)) for film in films))
    return iter(plain_loader(PlainClips(path, len(paths), CLIP.frames, CLIP.size), BATCH, CPUS))


def _lmdb(options: argparse.Namespace, side: int) -> Path:
    return Path(options.out) / f"plain-{side}-{options.frames}"


class ConstantBatchBuilder(ClipBatchBuilder):
    """Builder that returns the same batch every time, so that only the transport is measured."""

    def __call__(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        if not hasattr(self, "_ready"):
            object.__setattr__(self, "_ready", super().__call__({"step": 0, "microbatch": 0}))
        return dict(self._ready)  # type: ignore[attr-defined]


def ours(options: argparse.Namespace, paths: list[Path], name: str) -> dict[str, Any]:
    """Run all measurements of one store."""
    builder = _builder(options, paths, name)
    stored = shard_path(Path(builder.store.location), 0).stat().st_size
    results = {
        "bytes_a_frame": round(stored / len(paths) / options.frames),
        "bare": _rates(_bare(builder, options.seconds), 1),
    }
    transport = ConstantBatchBuilder(**{f.name: getattr(builder, f.name) for f in dataclasses.fields(builder)})
    results["transport"] = _rates(_free(transport, options.seconds / 2)["rate"])
    with _watched() as memory:
        free = _free(builder, options.seconds)
    results["free"] = {**_rates(free["rate"]), "first_batch_s": round(free["first"], 2), **memory}
    results["steady"] = _steady(builder, 1.5 * BATCH / free["rate"], options.seconds)
    print(name, json.dumps(results), flush=True)
    return results


def _builder(options: argparse.Namespace, paths: list[Path], name: str) -> ClipBatchBuilder:
    side, scale = STORES[name]
    store = make_store(options.out / f"store-{side}-{scale}-{options.frames}", paths, side, options.frames, scale)
    return ClipBatchBuilder(store, store.entries, GlobalBatchSampler(len(paths), BATCH, 0), CLIP, STREAMS, 0, 1)


def _bare(builder: ClipBatchBuilder, seconds: float) -> float:
    def built() -> Iterator[None]:
        step = 0
        while True:
            for microbatch in range(builder.microbatches):
                builder({"step": step, "microbatch": microbatch})
            step += 1
            yield

    return _rate(built(), seconds)


def _free(builder: ClipBatchBuilder, seconds: float) -> dict[str, float]:
    start = time.perf_counter()
    with closing(_batches(builder)) as loader:
        next(loader)
        first = time.perf_counter() - start
        for _ in range(4):
            next(loader)
        return {"first": first, "rate": _rate(loader, seconds)}


def _batches(builder: ClipBatchBuilder) -> Any:
    return batches(builder, 0, 10_000, CPUS, int(0.6 * OBJECT_STORE_MB * 2**20))


def _steady(builder: ClipBatchBuilder, step_s: float, seconds: float) -> dict[str, float]:
    """Waits of a consumer whose step takes ``step_s`` without CPU work, as on a GPU."""
    waits = []
    with closing(_batches(builder)) as loader:
        for _ in range(3):
            next(loader)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            time.sleep(step_s)
            start = time.perf_counter()
            next(loader)
            waits.append(1000 * (time.perf_counter() - start))
    return {
        "step_ms": round(1000 * step_s, 1),
        "wait_p50_ms": round(float(np.percentile(waits, 50)), 1),
        "wait_p99_ms": round(float(np.percentile(waits, 99)), 1),
    }


def _rate(loader: Iterator[Any], seconds: float) -> float:
    """Samples per second over about ``seconds``."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(loader)
        count += 1
    return BATCH * count / (time.perf_counter() - start)


def _rates(rate: float, cores: int = CPUS) -> dict[str, float]:
    return {"samples_a_s": round(rate, 2), "samples_a_s_a_core": round(rate / cores, 2)}


def appearance_ms() -> float:
    """Milliseconds per sample of jitter, grayscale, blur and the conversion to float, on one core."""
    clips = torch.randint(0, 256, (2 * BATCH, CLIP.frames, CLIP.size, CLIP.size, 3), dtype=torch.uint8)
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy(np.stack([draw_appearance(rng, CLIP) for _ in range(2 * BATCH)]))
    RGB.to_input(clips, RGB.unit, drawn)
    start = time.perf_counter()
    RGB.to_input(clips, RGB.unit, drawn)
    return round(1000 * (time.perf_counter() - start) / BATCH, 2)


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Record the peak use of the object store and the spilled bytes while the block runs, in MiB."""
    peaks: dict[str, float] = {}

    def poll() -> None:
        for key, value in object_store().items():
            peaks[f"{key}_mib"] = max(peaks.get(f"{key}_mib", 0.0), value)

    with watched(poll, every_s=0.5):
        yield peaks


if __name__ == "__main__":
    main()
