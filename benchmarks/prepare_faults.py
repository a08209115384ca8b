"""Fault tolerance of `vicc-ray prepare`: 20 seeded SIGKILLs of workers and drivers during one preparation.

    python benchmarks/prepare_faults.py OUT      # writes benchmarks/prepare_faults.json

The videos are generated, some of them broken, so that there are rows and failures. One store is prepared undisturbed.
Another is prepared while processes are killed: a decoding worker, after which the run recovers by itself, or the
driver, after which the same command starts at once, while workers of the killed run may still be active. Moments are
drawn uniformly over the work; a shard has two videos.
At the end both stores must have equal rows and failures, and no temporary files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray  # noqa: F401 - puts its bundled psutil on sys.path
from measured import machine

# isort: split
import psutil

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.video.synthetic.generate import Scene, make_videos

RESULT = Path(__file__).with_suffix(".json")
KILLS = 20
SETTINGS = ("prepare.short_side=128", "prepare.videos_per_shard=2", "ray.object_store_mb=150")
CLASSES, TRAIN, TEST = 4, 18, 4


def main() -> None:
    """Prepare twice, compare, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    videos, whole, disturbed = (options.out / name for name in ("videos", "undisturbed", "disturbed"))
    make_videos(videos, CLASSES, TRAIN, TEST, scene=Scene(side=64, frames=96))
    break_some(videos)
    subprocess.run(command(videos, whole), check=True)
    start = time.monotonic()
    kills = disturb(command(videos, disturbed), disturbed, np.random.default_rng(options.seed))
    first, second = contents(whole), contents(disturbed)
    left = sorted(path.name for path in disturbed.iterdir() if path.name.startswith(".part-"))
    result = {
        **{"machine": machine(), "seed": options.seed, "seconds": round(time.monotonic() - start, 1)},
        **{"rows": len(first["rows"]), "failures": len(first["failures"]), "equal": first == second},
        **{"left_behind": left, "kills": kills},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())
    if not result["equal"] or left:
        sys.exit("the stores differ, or something was left behind")


def command(videos: Path, store: Path) -> list[str]:
    """Command line of a preparation."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    verb = [sys.executable, "-m", "vicc_ray", "prepare", "demo", "--videos", str(videos), "--store", str(store)]
    return [*verb, "--quiet", *settings]


def break_some(videos: Path) -> None:
    """Add broken files, also to the labels, which must become failures."""
    folder = next(path for path in sorted(videos.iterdir()) if path.is_dir())
    whole = next(folder.glob("*.mp4")).read_bytes()
    broken = {"empty.mp4": b"", "text.mp4": b"no video\n" * 50, "cut.mp4": whole[: len(whole) // 3]}
    labels = (videos / "labels.csv").read_text()
    for name, content in broken.items():
        (folder / name).write_bytes(content)
        if name not in labels:
            labels += f"{folder.name}/{name},{folder.name},{folder.name}/{name},train\n"
    (videos / "labels.csv").write_text(labels)


def disturb(prepare: list[str], store: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Kill at the drawn moments, then let the run complete; return the kills."""
    shards = -(-(CLASSES * (TRAIN + TEST) + 3) // 2)
    moments = np.sort(rng.uniform(0, 0.8 * shards, KILLS))  # while work is left
    kinds = rng.permutation(["driver", "worker"] * (KILLS // 2))
    kills: list[dict[str, Any]] = []
    orphans: list[psutil.Process] = []
    running = subprocess.Popen(prepare)
    for moment, kind in zip(moments, kinds, strict=True):
        running = wait_for(running, prepare, store, int(moment))
        time.sleep(moment % 1)  # not always right after a shard
        kills.append({"kind": str(kind), "shards_done": done(store)})
        print(kills[-1], flush=True)
        if kind == "worker":
            workers(running.pid)[0].kill()
            continue
        orphans += psutil.Process(running.pid).children(recursive=True)
        running.kill()
        running.wait()
        running = subprocess.Popen(prepare)
    if running.wait():
        raise RuntimeError(f"the preparation ended with {running.returncode}")
    if psutil.wait_procs(orphans, timeout=120)[1]:
        raise RuntimeError("processes outlived their driver by two minutes")
    return kills


def wait_for(running: subprocess.Popen[bytes], prepare: list[str], store: Path, shards: int) -> subprocess.Popen[bytes]:
    """Wait until so many shards are done and a worker is busy."""
    while done(store) < shards or not workers(running.pid):
        if running.poll() is not None:  # not killed by this script
            raise RuntimeError(f"the preparation exited by itself with {running.returncode}: {prepare}")
        time.sleep(0.02)
    return running


def workers(driver: int) -> list[psutil.Process]:
    """Processes of the driver that run a task."""
    processes = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(driver).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.cmdline()[:1] == ["ray::Map(BuildShardTask)"]:
                    processes.append(process)
    return processes


def done(store: Path) -> int:
    """Finished shards."""
    return len(list(store.glob("part-*.parquet")))


def contents(path: Path) -> dict[str, Any]:
    """Every row with all its frames, by id, and the failures."""
    store = ClipStore(path)
    shards = [pq.read_table(path / f"part-{shard:05d}.parquet").to_pylist() for shard in range(store.shards)]
    lines = [json.loads(line) for line in store.failures_file.read_text().splitlines()]
    repeated = (path / "duplicates.jsonl").read_text()
    return {"rows": {row["id"]: row for rows in shards for row in rows}, "failures": lines, "repeated": repeated}


if __name__ == "__main__":
    main()
