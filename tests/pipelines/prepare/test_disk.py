"""Full disk during preparation: a one-line error, no partial shard, and the same call resumes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipelines.prepared import CONFIG, contents, run
from tests.videos import moving, write_video
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError

SMALL_SHARDS = CONFIG.model_copy(update={"prepare": PrepareConfig(short_side=64, videos_per_shard=1)})


def write_long_videos(folder: Path, count: int) -> Path:
    """Write videos of some 40 kB each in the store."""
    for n in range(count):
        write_video(folder / f"{n}.mp4", moving(80, 64, 96, (2, n % 3), n))
    return folder


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[None]:
    """Mount a file system of that size at ``path``."""
    path.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
    if subprocess.run(options, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here; the test below covers the write of a shard")
    try:
        yield
    finally:
        # Tasks that still ran when the call failed may have files open there.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_full_disk_is_reported_and_the_same_call_resumes(tmp_path: Path) -> None:
    videos = write_long_videos(tmp_path / "videos", 6)
    with small_disk(tmp_path / "disk", 150):
        store = tmp_path / "disk" / "store"
        with pytest.raises(UserError, match=r"clip store .*store cannot be written: .*No space left on device"):
            run(videos, store, SMALL_SHARDS)
        with pytest.raises(UserError, match=r"\d+ of \d+ shards"):
            ClipStore(store)
        for part in store.glob("part-*.parquet"):
            assert pq.read_table(part).num_rows == 1
        subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path / "disk")], check=True)
        summary = run(videos, store, SMALL_SHARDS)
        assert (summary.rows, summary.failures, summary.inputs) == (6, 0, 6)
        run(videos, tmp_path / "undisturbed", SMALL_SHARDS)
        assert contents(store) == contents(tmp_path / "undisturbed")


LIMITED = """
import resource, signal, sys
from pathlib import Path
from vicc_ray.config import PrepareConfig
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.sharding.build_shard import build_shard
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
video = (Path(sys.argv[1]) / "0.mp4", PlannedVideo("0.mp4", "", "0.mp4", ""))
try:
    build_shard(Path(sys.argv[2]), 0, [video], PrepareConfig(short_side=64))
except OSError as error:
    sys.exit(str(error))
"""


def test_failed_write_leaves_no_shard(tmp_path: Path) -> None:
    videos, store = write_long_videos(tmp_path / "videos", 1), tmp_path / "store"
    store.mkdir()
    for limit, code in ((20_000, 1), (10_000_000, 0)):
        command = [sys.executable, "-c", LIMITED, videos, store, str(limit)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert ("File too large" in done.stderr) == bool(code)
        assert [path.name for path in store.glob("part-*.parquet")] == ([] if code else ["part-00000.parquet"])
    assert not list(store.glob("*.part"))
