"""Overhead of `prepare` over decoding, flow and compression alone, and its scaling with cores.

    python benchmarks/prepare_speed.py VIDEOS OUT     # writes benchmarks/prepare_speed.json

The bare side is a loop over the same videos that decodes, computes flow, compresses and discards the row, in as many
plain processes as cores, which take videos from one queue. The other side is the `prepare` command. The two alternate,
``--rounds`` times, and a ratio compares adjacent runs. There are three ratios:

  steady   videos per second from the start of the first task to the end of the last
  whole    the same over the whole call, with start and stop of Ray and the merge of the shards' results
  work     CPU seconds of the bare loop relative to those of all Ray processes during "steady"; other load disturbs
           these least
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cv2
from measured import machine, yield_as_ray_does
from processes import watched

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import VideoMetadata
from vicc_ray.clip_store.writer import encode_video
from vicc_ray.config import Config, PrepareConfig, RayConfig
from vicc_ray.datasets import list_videos
from vicc_ray.pipelines.prepare.pipeline import prepare
from vicc_ray.sharding.build_shard import stored_frames
from vicc_ray.video.decode import open_frames

RESULT = Path(__file__).with_suffix(".json")
SETTINGS = PrepareConfig()
POLL_S = 0.02
CORES = os.cpu_count() or 1


def main() -> None:
    """Measure both sides alternately, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--count", type=int, default=256, help="number of videos; those of the folder are copied repeatedly"
    )
    parser.add_argument("--cores", type=int, nargs="+", default=[1, CORES])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    paths = repeat(options.videos, options.out / "videos", options.count)
    rounds: dict[int, list[dict[str, Any]]] = {cores: [] for cores in options.cores}
    for _ in range(options.rounds):
        for cores in options.cores:
            rounds[cores].append(one_round(options.out, paths, cores))
            print(cores, json.dumps(rounds[cores][-1]), flush=True)
    result = {
        "machine": machine(),
        "videos": len(paths),
        "frames": rounds[options.cores[0]][0]["prepare"]["frames"],
        "short_side": SETTINGS.short_side,
        "ratio": {str(cores): _ratios(results) for cores, results in rounds.items()},
        "rounds": {str(cores): results for cores, results in rounds.items()},
    }
    result["scaling"] = _scaling(rounds)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("ratio", "scaling")}, indent=1))


def repeat(folder: Path, into: Path, count: int) -> list[Path]:
    """Copy the folder's videos in rotation to ``count`` files."""
    items = list_videos(folder).items
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    paths = []
    for n in range(count):
        source = Path(str(items[n % len(items)].location))
        paths.append(into / f"{n:05d}{source.suffix}")
        shutil.copyfile(source, paths[-1])
    return paths


def one_round(out: Path, paths: list[Path], cores: int) -> dict[str, Any]:
    """Measure both sides in sequence."""
    return {"bare": bare(paths, cores), "prepare": prepared(out, paths, cores)}


def bare(paths: list[Path], cores: int) -> dict[str, float]:
    """Measure the loop in ``cores`` parallel processes."""
    context = multiprocessing.get_context("spawn")
    ready, following = context.Barrier(cores), context.Value("l", 0)
    results: Any = context.Queue()
    processes = [context.Process(target=_loop, args=(paths, ready, following, results)) for _ in range(cores)]
    for process in processes:
        process.start()
    reports = [results.get() for _ in processes]
    for process in processes:
        process.join()
    seconds = max(end for _, end, _, _ in reports) - min(start for start, _, _, _ in reports)
    return _figures(len(paths), sum(frames for *_, frames, _ in reports), seconds, sum(cpu for *_, cpu in reports))


def _loop(paths: list[Path], ready: Any, following: Any, results: Any) -> None:
    cv2.setNumThreads(1)
    yield_as_ray_does()
    _bare_row(paths[0])  # loads codecs and lookup tables
    ready.wait()
    start, cpu, frames = time.monotonic(), time.process_time(), 0
    while True:
        with following.get_lock():
            number = following.value
            following.value += 1
        if number >= len(paths):
            break
        frames += _bare_row(paths[number])
    results.put((start, time.monotonic(), frames, time.process_time() - cpu))


def _bare_row(path: Path) -> int:
    settings = SETTINGS
    with open_frames(
        path,
        short_side=settings.short_side,
        max_frames=settings.max_frames,
        timeout_s=settings.timeout_s,
        grid=settings.grid,
    ) as stream:
        frames = stored_frames(stream, settings)
        return int(encode_video(VideoMetadata(path.name), stream.fps, frames, settings)["frames"])


def prepared(out: Path, paths: list[Path], cores: int) -> dict[str, float]:
    """Measure `prepare` with ``cores`` CPUs into a new store."""
    store = out / "store"
    shutil.rmtree(store, ignore_errors=True)
    config = Config(prepare=SETTINGS, ray=RayConfig(cpus=cores))
    start = time.time()
    with _first_task(store) as first, watched() as usage:
        summary = prepare(paths[0].parent, store, config, progress=False)
    whole = time.time() - start
    if summary.rows != len(paths):
        raise RuntimeError(str(summary))
    last = max(part.stat().st_mtime for part in store.glob("part-*.parquet"))
    frames = sum(entry.frames for entry in ClipStore(store).entries)
    figures = _figures(len(paths), frames, last - first[0], usage.cpu_between(first[0], last))
    before, after = first[0] - start, start + whole - last
    return {**figures, "whole_s": round(whole, 2), "before_s": round(before, 2), "after_s": round(after, 2)}


@contextmanager
def _first_task(store: Path) -> Iterator[list[float]]:
    """Time at which the first task's file appears in the store; the pipeline itself is not changed."""
    times: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not times and not stop.wait(POLL_S):
            if next(store.glob(".part-*.stuck"), None):
                times.append(time.time())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def _figures(videos: int, frames: int, seconds: float, cpu_s: float) -> dict[str, float]:
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "frames": frames,
        "videos_a_s": round(videos / seconds, 3),
        "frames_a_s": round(frames / seconds, 1),
    }


def _ratios(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Median ratios of bare to `prepare` over the rounds; 1 means no overhead."""
    return {
        name: round(median(one["bare"][bare_key] / one["prepare"][prepare_key] for one in rounds), 3)
        for name, bare_key, prepare_key in (
            ("steady", "seconds", "seconds"),
            ("whole", "seconds", "whole_s"),
            ("work", "cpu_s", "cpu_s"),
        )
    }


def _scaling(rounds: dict[int, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Speedup of each number of cores over the first, on both sides."""
    base = next(iter(rounds.values()))
    return {
        str(cores): {
            side: round(median(f[side]["seconds"] for f in base) / median(f[side]["seconds"] for f in results), 3)
            for side in ("bare", "prepare")
        }
        for cores, results in rounds.items()
    }


if __name__ == "__main__":
    main()
