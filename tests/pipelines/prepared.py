"""Helpers of the prepare tests: write small videos, prepare them, read the results."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.videos import moving, write_video
from vicc_ray.config import Config, PrepareConfig, RayConfig
from vicc_ray.pipelines.prepare.pipeline import PrepareSummary, prepare

RAY = RayConfig(cpus=2, object_store_mb=150)
CONFIG = Config(prepare=PrepareConfig(short_side=32), ray=RAY)


def run(videos: Path | str, store: Path, config: Config = CONFIG, labels: Path | str | None = None) -> PrepareSummary:
    return prepare(videos, store, config, labels, progress=False)


def write_videos(folder: Path, *names: str, frames: int = 6, first: int = 0) -> Path:
    """Write one video per name with seeds from ``first`` on; equal seeds give equal content."""
    for seed, name in enumerate(names, first):
        write_video(folder / name, moving(frames, 32, 48, (2 - seed % 5, 1), seed))
    return folder


def failures(store: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (store / "failures.jsonl").read_text().splitlines()]
    assert all(set(line) == {"path", "reason"} for line in lines)
    return {line["path"]: line["reason"] for line in lines}


def parts(store: Path) -> dict[str, tuple[int, int]]:
    """Inode and mtime of each shard, which change when it is rewritten."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.glob("part-*.parquet")}


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir() if path.suffix in (".parquet", ".json", ".jsonl")}


WRITING = """
import os, signal, sys
from pathlib import Path
from vicc_ray.utils.fs import atomic_path
with atomic_path(Path(sys.argv[1])) as tmp:
    print(tmp, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> Path:
    """Temporary file that a process leaves next to ``path`` when it is killed before the rename."""
    done = subprocess.run([sys.executable, "-c", WRITING, str(path)], stdout=subprocess.PIPE, text=True)
    tmp = Path(done.stdout.strip())
    assert done.returncode == -signal.SIGKILL and tmp.exists()
    return tmp
