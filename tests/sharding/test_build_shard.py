"""One shard of a clip store, built without Ray: a bad video fails alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.mutations import mutated
from tests.pipelines.prepared import write_videos
from tests.videos import moving, write_video
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import write_store_file
from vicc_ray.config import PrepareConfig
from vicc_ray.sharding.build_shard import build_shard
from vicc_ray.sharding.plan import PlannedVideo, ShardPlan
from vicc_ray.sharding.task import is_building
from vicc_ray.sharding.truncated_videos import TRUNCATED_FILE, merge_truncated
from vicc_ray.video.decode import open_frames

SETTINGS = PrepareConfig(short_side=32)
ATTEMPTS = """
import os, re, sys, time
from contextlib import contextmanager
from pathlib import Path
from vicc_ray.config import PrepareConfig
from vicc_ray.sharding import build_shard
from vicc_ray.sharding.plan import PlannedVideo

def crash():
    os._exit(9)

def hang():
    re.match("(a+)+$", "a" * 60 + "b")  # takes years, in C code that holds the GIL

open_frames = build_shard.open_frames

@contextmanager
def open_bad_frames(path, **limits):
    if path.stem == "bad":
        globals()[sys.argv[3]]()
    with open_frames(path, **limits) as frames:
        yield frames

build_shard.open_frames = open_bad_frames
videos = [(Path(sys.argv[1]) / name, PlannedVideo(name, "", name, "")) for name in sys.argv[5:]]
for attempt in range(3):
    if not os.fork():
        settings = PrepareConfig(short_side=32, timeout_s=float(sys.argv[4]))
        os._exit(100 + build_shard.build_shard(Path(sys.argv[2]), 0, videos, settings))
    code = os.waitstatus_to_exitcode(os.wait()[1])
    print(code)
    if code >= 100:
        break
"""

WHOLE = """
import sys
from pathlib import Path
from vicc_ray.config import PrepareConfig
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.sharding.build_shard import build_shard
from vicc_ray.video import codec
codec.REPRODUCIBLE += sys.argv[3]
videos = [(path, PlannedVideo(path.name, "", path.name, "")) for path in sorted(Path(sys.argv[1]).iterdir())]
build_shard(Path(sys.argv[2]), 0, videos, PrepareConfig(short_side=64))
"""


def failures(store: Path) -> dict[str, str]:
    lines = (store / "part-00000.failures.jsonl").read_text().splitlines()
    return {line["path"]: line["reason"] for line in map(json.loads, lines)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "limit_s", "exits", "reason", "retried"),
    [
        ("crash", 60, ["9", "9", "101"], "2 times", True),  # retried, since the process may have been killed
        ("hang", 0.5, ["1", "101"], "limit of 0.5 s", False),
    ],
)
def test_a_video_that_crashes_or_hangs_its_process_is_a_failure(
    tmp_path: Path, fault: str, limit_s: float, exits: list[str], reason: str, retried: bool
) -> None:
    names = ["0.mp4", "bad.mp4", "z.mp4"]
    write_videos(tmp_path / "videos", *names)
    (tmp_path / "store").mkdir()
    command = [sys.executable, "-c", ATTEMPTS, tmp_path / "videos", tmp_path / "store", fault, str(limit_s), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.split() == exits  # 101: one failure
    ((name, message),) = failures(tmp_path / "store").items()
    assert name == "bad.mp4"
    assert reason in message
    (line,) = (tmp_path / "store" / "part-00000.failures.jsonl").read_text().splitlines()
    assert (json.loads(line)["stamp"] is None) == retried
    assert not [path for path in (tmp_path / "store").glob(".*") if path.suffix != ".part"]  # prepare() removes those


def test_an_unexpected_error_of_a_codec_fails_one_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_videos(tmp_path, "0.mp4", "1.mp4")

    @contextmanager
    def unexpected_error(path: Path, **limits: object) -> Iterator[object]:
        raise KeyError("codec")
        yield

    videos = [(tmp_path / f"{n}.mp4", PlannedVideo(f"{n}.mp4", "", "", "")) for n in range(2)]
    monkeypatch.setattr("vicc_ray.sharding.build_shard.open_frames", unexpected_error)
    assert build_shard(tmp_path, 0, videos, PrepareConfig()) == 2
    assert "KeyError: 'codec'" in (tmp_path / "part-00000.failures.jsonl").read_text()


def test_a_shard_is_marked_in_progress_only_while_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_videos(tmp_path, "0.mp4")
    while_decoding: list[bool] = []

    @contextmanager
    def observed(path: Path, **limits: Any) -> Iterator[object]:
        while_decoding.append(is_building(tmp_path))
        with open_frames(path, **limits) as frames:
            yield frames

    monkeypatch.setattr("vicc_ray.sharding.build_shard.open_frames", observed)
    assert build_shard(tmp_path, 0, [(tmp_path / "0.mp4", PlannedVideo("0.mp4", "", "", ""))], SETTINGS) == 0
    assert while_decoding == [True]
    assert not is_building(tmp_path)


@pytest.mark.slow
def test_the_time_limit_counts_decoding_and_flow_together(tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", moving(200, 64, 96, (0, 1)))
    settings = PrepareConfig(short_side=64, flow_method="tvl1", timeout_s=0.5)
    start = time.process_time()
    assert build_shard(tmp_path, 0, [(tmp_path / "long.mp4", PlannedVideo("long.mp4", "", "", ""))], settings) == 1
    assert time.process_time() - start < 30  # 200 TV-L1 fields take longer; CPU time, since other tests run beside
    ((name, reason),) = failures(tmp_path).items()
    assert name == "long.mp4" and "0.5 s (prepare.timeout_s)" in reason


@pytest.mark.parametrize(("seconds", "frames"), [(250, 100), (150, 0)])
def test_at_the_time_limit_a_video_is_truncated_if_it_has_enough_frames_and_else_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, frames: int
) -> None:
    write_video(tmp_path / "long.mp4", moving(300, 32, 48, (0, 1)))
    write_video(tmp_path / "short.mp4", moving(20, 32, 48, (0, 1)))
    # A fake clock: every reading takes a second, and there is one per packet and per frame.
    monkeypatch.setattr("vicc_ray.video.decode.time", SimpleNamespace(monotonic=count().__next__))
    videos = [(tmp_path / name, PlannedVideo(name, "", "", "")) for name in ("long.mp4", "short.mp4")]
    settings = PrepareConfig(short_side=32, timeout_s=seconds)
    failed = build_shard(tmp_path, 0, videos, settings)
    write_store_file(tmp_path, settings, 1)
    rows = {entry.id: entry for entry in ClipStore(tmp_path).entries}
    assert len(rows) + failed == len(videos)
    assert merge_truncated(tmp_path, ShardPlan((tuple(video for _, video in videos),))) == len(rows) - 1
    if not frames:
        assert list(failures(tmp_path)) == ["long.mp4"]
        assert not (tmp_path / TRUNCATED_FILE).exists()
        return
    (line,) = map(json.loads, (tmp_path / TRUNCATED_FILE).read_text().splitlines())
    assert frames <= rows["long.mp4"].frames < 300
    assert (line["path"], line["frames"]) == ("long.mp4", rows["long.mp4"].frames)
    assert "limit of 250 s" in line["reason"]
    last = ClipStore(tmp_path).read(rows["long.mp4"])
    assert last.rgb([last.frames - 1]).std() > 5
    assert last.flow([last.frames - 1]).shape == (1, 16, 24, 2)


def test_fps_is_measured_over_all_frames(tmp_path: Path) -> None:
    times = np.cumsum([0, *([40] * 15), *([20] * 30)]).tolist()  # the first second alone has another rate
    write_video(tmp_path / "a.mkv", moving(len(times), 32, 48, (0, 1)), timestamps=times)
    assert build_shard(tmp_path, 0, [(tmp_path / "a.mkv", PlannedVideo("a.mkv", "", "", ""))], SETTINGS) == 0
    write_store_file(tmp_path, SETTINGS, 1)
    assert ClipStore(tmp_path).entries[0].fps == pytest.approx(50, rel=0.05)


PREPARE_ALL = """
import sys
from pathlib import Path
from vicc_ray.config import PrepareConfig
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.sharding.build_shard import build_shard
videos = [(path, PlannedVideo(path.name, "", path.name, "")) for path in sorted(Path(sys.argv[1]).iterdir())]
settings = PrepareConfig(short_side=int(sys.argv[3]), max_frames=int(sys.argv[4]), timeout_s=300)
build_shard(Path(sys.argv[2]), 0, videos, settings)
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def prepare_all(videos: Path, store: Path, short_side: int = 32, max_frames: int = 1000) -> int:
    """Prepare a folder in a subprocess; return its peak memory in MB."""
    store.mkdir()
    command = [sys.executable, "-c", PREPARE_ALL, videos, store, str(short_side), str(max_frames)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_a_thousand_mutated_videos_are_rows_or_failures(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name, content in mutated(tmp_path, 1000, seed=0):
        (tmp_path / "videos" / name).write_bytes(content)
    prepare_all(tmp_path / "videos", tmp_path / "store")
    write_store_file(tmp_path / "store", SETTINGS, 1)
    store, failed = ClipStore(tmp_path / "store"), failures(tmp_path / "store")
    assert len(store.entries) + len(failed) == 1000
    assert {entry.id for entry in store.entries}.isdisjoint(failed)
    assert min(len(store.entries), len(failed)) > 100  # both outcomes occur
    for entry in store.entries:
        assert store.read(entry).rgb([0, entry.frames - 1]).shape == (2, entry.height, entry.width, 3)
    assert not any(re.match("[A-Za-z]*Error", reason) for reason in failed.values()), (
        "every reason is a message, not the name of an exception"
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    frames = moving(60, 64, 96, (1, 0))
    for folder, seconds in (("minute", 60), ("hours", 7200)):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "film.mp4", np.resize(frames, (seconds, 64, 96, 3)), fps=1)
    peaks = [prepare_all(tmp_path / n, tmp_path / f"{n}-store", 64, max_frames=10**6) for n in ("minute", "hours")]
    write_store_file(tmp_path / "hours-store", SETTINGS, 1)
    (entry,) = ClipStore(tmp_path / "hours-store").entries
    assert entry.frames == 7200
    all_frames = 7200 * 64 * 96 * 3 / 2**20  # 127 MB
    assert peaks[1] - peaks[0] < all_frames / 3


@pytest.mark.slow
def test_a_shard_has_the_same_bytes_in_every_process_and_on_every_cpu(tmp_path: Path) -> None:
    """``asm=0`` stands for another CPU. With AVX-512, x264 once wrote different bytes in each process."""
    videos, shards = tmp_path / "videos", set()
    for n in range(6):
        write_video(videos / f"{n}.mp4", moving(80, 64, 96, (2, n % 3), n))
    for store, asm in (("one", ""), ("two", ""), ("plain", ":asm=0")):
        (tmp_path / store).mkdir()
        subprocess.run([sys.executable, "-c", WHOLE, videos, tmp_path / store, asm], check=True)
        shards.add((tmp_path / store / "part-00000.parquet").read_bytes())
    assert len(shards) == 1
