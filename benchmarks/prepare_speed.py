"""How near `prepare` comes to the cost of decode, flow and compression alone, and whether it scales over cores.

    python benchmarks/prepare_speed.py VIDEOS OUT     # writes benchmarks/prepare_speed.json

The bare side is a loop over the same videos that decodes, computes flow, compresses and throws the row away, in as many
plain processes as cores; they take the next video when they are done with one, so none waits before the end. The other
side is `prepare` as a user calls it. The two take turns, ``--rounds`` times, and a ratio is that of neighbours in time.
Ratios are told three ways:

  steady   videos a second while tasks work: from the start of the first task to the end of the last
  whole    the same over the whole call, with the start and the end of Ray and the merging of what the shards tell
  work     processor seconds of the bare loop to those of all processes of Ray in the time of "steady": what a busy
           machine disturbs least
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
from vicc_ray.video.decode import open_frames
from vicc_ray.video.flow import frames_with_flow, quantize, shrink

RESULT = Path(__file__).with_suffix(".json")
SETTINGS = PrepareConfig()
POLL_S = 0.02
CORES = os.cpu_count() or 1


def main() -> None:
    """Measure both sides in turns; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=256, help="videos; the folder's are repeated under other names")
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
        "ratio": {str(cores): _ratios(found) for cores, found in rounds.items()},
        "rounds": {str(cores): found for cores, found in rounds.items()},
    }
    result["scaling"] = _scaling(rounds)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("ratio", "scaling")}, indent=1))


def repeat(folder: Path, into: Path, count: int) -> list[Path]:
    """``count`` files with the folder's videos in turn."""
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
    """Both sides, one after the other."""
    return {"bare": bare(paths, cores), "prepare": prepared(out, paths, cores)}


def bare(paths: list[Path], cores: int) -> dict[str, float]:
    """The loop in ``cores`` processes at once."""
    context = multiprocessing.get_context("spawn")
    ready, following = context.Barrier(cores), context.Value("l", 0)
    results: Any = context.Queue()
    processes = [context.Process(target=_loop, args=(paths, ready, following, results)) for _ in range(cores)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    seconds = max(end for _, end, _, _ in found) - min(begun for begun, _, _, _ in found)
    return _figures(len(paths), sum(frames for *_, frames, _ in found), seconds, sum(cpu for *_, cpu in found))


def _loop(paths: list[Path], ready: Any, following: Any, results: Any) -> None:
    cv2.setNumThreads(1)
    yield_as_ray_does()
    _bare_row(paths[0])  # codecs and lookup tables are loaded
    ready.wait()
    begun, cpu, frames = time.monotonic(), time.process_time(), 0
    while True:
        with following.get_lock():
            number = following.value
            following.value += 1
        if number >= len(paths):
            break
        frames += _bare_row(paths[number])
    results.put((begun, time.monotonic(), frames, time.process_time() - cpu))


def _bare_row(path: Path) -> int:
    settings = SETTINGS
    with open_frames(
        path,
        short_side=settings.short_side,
        max_frames=settings.max_frames,
        timeout_s=settings.timeout_s,
        grid=settings.grid,
    ) as stream:
        pairs = (
            (frame, quantize(shrink(flow, settings.flow_downscale), settings.flow_bound))
            for frame, flow in frames_with_flow(stream.frames, settings.flow_method)
        )
        return int(encode_video(VideoMetadata(path.name), stream.fps, pairs, settings)["frames"])


def prepared(out: Path, paths: list[Path], cores: int) -> dict[str, float]:
    """`prepare` on ``cores`` of Ray's cores, into a new store."""
    store = out / "store"
    shutil.rmtree(store, ignore_errors=True)
    config = Config(prepare=SETTINGS, ray=RayConfig(cpus=cores))
    begun = time.time()
    with _first_task(store) as first, watched() as seen:
        summary = prepare(paths[0].parent, store, config, progress=False)
    whole = time.time() - begun
    if summary.rows != len(paths):
        raise RuntimeError(str(summary))
    last = max(part.stat().st_mtime for part in store.glob("part-*.parquet"))
    frames = sum(entry.frames for entry in ClipStore(store).entries)
    figures = _figures(len(paths), frames, last - first[0], seen.cpu_between(first[0], last))
    before, after = first[0] - begun, begun + whole - last
    return {**figures, "whole_s": round(whole, 2), "before_s": round(before, 2), "after_s": round(after, 2)}


@contextmanager
def _first_task(store: Path) -> Iterator[list[float]]:
    """When the first task's file was seen in the store; nothing of the pipeline is changed for it."""
    seen: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not seen and not stop.wait(POLL_S):
            if next(store.glob(".part-*.stuck"), None):
                seen.append(time.time())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
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
    """Medians over the rounds of bare to `prepare`: 1 where nothing is lost."""
    return {
        name: round(median(found["bare"][mine] / found["prepare"][theirs] for found in rounds), 3)
        for name, mine, theirs in (
            ("steady", "seconds", "seconds"),
            ("whole", "seconds", "whole_s"),
            ("work", "cpu_s", "cpu_s"),
        )
    }


def _scaling(rounds: dict[int, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """How many times as fast each number of cores is as the first one, on both sides."""
    base = next(iter(rounds.values()))
    return {
        str(cores): {
            side: round(median(f[side]["seconds"] for f in base) / median(f[side]["seconds"] for f in found), 3)
            for side in ("bare", "prepare")
        }
        for cores, found in rounds.items()
    }


if __name__ == "__main__":
    main()
