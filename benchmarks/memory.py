"""Memory growth with the number of videos: 1,000 and 10,000 (and more) in `prepare` and in the training loader.

    python benchmarks/memory.py OUT     # writes benchmarks/memory.json

The videos are tiny, so that growth with their number is visible. Each measurement has its own process and Ray session:
the same number of training batches for each count, and `prepare` of each count. The figures are peaks in MiB of the
largest process of a kind: ``rss`` is resident memory, ``own`` excludes shared pages (libraries, and the object store,
which is counted separately). ``ratio`` compares 10,000 videos with 1,000; ``bytes_a_video`` is the growth of ``own``
per video between the two largest counts, and ``at_a_million`` its extrapolation in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from measured import machine
from processes import object_store, watched

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import STORE_FILE, VideoMetadata, shard_path, write_store_file
from vicc_ray.clip_store.writer import encode_video, open_shard_writer
from vicc_ray.config import ClipConfig, Config, PrepareConfig, RayConfig
from vicc_ray.pipelines.cluster.resources import STORE_FRACTION
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.prepare.pipeline import prepare
from vicc_ray.pipelines.train.loader import batches
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder
from vicc_ray.training.validation.split import training_videos

RESULT = Path(__file__).with_suffix(".json")
CPUS = os.cpu_count() or 1
OBJECT_STORE_MB = 256
BATCH = 16
CLIP = ClipConfig(frames=8, size=32)
SETTINGS = PrepareConfig(short_side=32)
SHARD = 64
FILMS = 4
COUNTS = {"ingest": (1_000, 10_000, 40_000), "prepare": (1_000, 10_000)}
"""The ratio uses the first two counts, growth the last two: a reader keeps up to 32 shards of 0.8 MiB open, which it
reaches at 2,048 videos."""


def main() -> None:
    """Measure both pipelines at each count, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400, help="batches of 16 to load")
    parser.add_argument("--only", choices=MEASUREMENTS)
    parser.add_argument("--count", type=int, help="measure this count alone, in this process, and print the figures")
    options = parser.parse_args()
    if options.count:
        print(json.dumps(MEASUREMENTS[options.only](options.out, options.count, options.steps)))
        return
    result: dict[str, Any] = {"machine": machine(), "object_store_mb": OBJECT_STORE_MB, "steps": options.steps}
    for name in [options.only] if options.only else MEASUREMENTS:
        by_count = {str(count): _in_subprocess(options, name, count) for count in COUNTS[name]}
        result[name] = {**by_count, **_growth(list(by_count.values()))}
        print(name, json.dumps(result[name], indent=1), flush=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _in_subprocess(options: argparse.Namespace, name: str, count: int) -> dict[str, Any]:
    words = [str(options.out), "--only", name, "--count", str(count), "--steps", str(options.steps)]
    done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _growth(results: list[dict[str, Any]]) -> dict[str, Any]:
    (few, many, *_), (less, most) = results, results[-2:]
    more = most["videos"] - less["videos"]
    slopes = {kind: (most["own"][kind] - less["own"][kind]) / more for kind in ("driver", "worker")}
    return {
        "ratio": {
            what: {kind: round(many[what][kind] / few[what][kind], 3) for kind in ("driver", "worker")}
            for what in ("rss", "own")
        },
        "bytes_a_video": {kind: round(slope * 2**20) for kind, slope in slopes.items()},
        "at_a_million": {
            kind: round(most["own"][kind] + slope * (1e6 - most["videos"])) for kind, slope in slopes.items()
        },
    }


def ingest(out: Path, count: int, steps: int) -> dict[str, Any]:
    """Measure loading by one training worker that discards its batches."""
    path = _store(out / f"store-{count}", count)

    def take() -> None:
        store = ClipStore(path)
        videos = training_videos(store.entries, 0.0)
        builder = ClipBatchBuilder(
            store, videos, GlobalBatchSampler(len(videos), BATCH, 0), CLIP, ("rgb", "flow"), 0, 1
        )
        taken = sum(1 for _ in batches(builder, 0, steps, CPUS, int(STORE_FRACTION * OBJECT_STORE_MB * 2**20)))
        assert taken == steps

    return _measured(count, take)


def prepared(out: Path, count: int, steps: int) -> dict[str, Any]:
    """Measure `prepare` of ``count`` files."""
    videos = _videos(out / f"videos-{count}", count)
    store = out / f"prepared-{count}"
    subprocess.run(["rm", "-rf", str(store)], check=True)
    config = Config(prepare=SETTINGS)

    def make() -> None:
        assert prepare(videos, store, config, progress=False).rows == count

    return _measured(count, make)


MEASUREMENTS: dict[str, Callable[[Path, int, int], dict[str, Any]]] = {"ingest": ingest, "prepare": prepared}


def _measured(count: int, work: Callable[[], None]) -> dict[str, Any]:
    peaks = {"object_store": 0.0, "spilled": 0.0}

    def poll() -> None:
        for key, value in object_store().items():
            peaks[key] = max(peaks[key], value)

    with ray_session(RayConfig(cpus=CPUS, object_store_mb=OBJECT_STORE_MB)), watched(poll, every_s=0.5) as usage:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        time.sleep(1.0)  # for a last measurement
    return {"videos": count, "seconds": round(seconds, 1), "rss": usage.rss_mib, "own": usage.own_mib, **peaks}


def _store(path: Path, count: int) -> Path:
    """Clip store with a few videos of 12 frames under many names."""
    if (path / STORE_FILE).exists():
        return path
    path.mkdir(parents=True, exist_ok=True)
    films = [_pairs(seed) for seed in range(FILMS)]
    rows = [encode_video(VideoMetadata(""), 25.0, pairs, SETTINGS) for pairs in films]
    shards = -(-count // SHARD)
    for shard in range(shards):
        with open_shard_writer(shard_path(path, shard)) as writer:
            for n in range(shard * SHARD, min(count, (shard + 1) * SHARD)):
                name = f"class {n % 100:02d}/video {n:07d}.mp4"
                metadata = {"id": name, "label": name[:8], "source": name, "split": "train", "content": f"{n:032x}"}
                writer.write({**rows[n % FILMS], **metadata})
    write_store_file(path, SETTINGS, shards)
    return path


def _pairs(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    flow = np.full((16, 20, 2), 128, np.uint8)
    return [(frame, flow) for frame in rng.integers(0, 256, (12, 32, 40, 3), np.uint8)]


def _videos(path: Path, count: int) -> Path:
    """Copies of one video of four frames, each with a different last MP4 box, so that all files differ."""
    if len(list(path.glob("*"))) == 100 and len(list(path.glob("*/*.mp4"))) == count:
        return path
    content = _video()
    for n in range(count):
        folder = path / f"class {n % 100:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"video {n:07d}.mp4").write_bytes(content + struct.pack(">I4sQ", 16, b"free", n))
    return path


def _video() -> bytes:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"four-frames-{os.getpid()}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        rng = np.random.default_rng(0)
        picture = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (36, 32))
        for n in range(4):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:, n : n + 32]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.unlink()
    return content


if __name__ == "__main__":
    main()
