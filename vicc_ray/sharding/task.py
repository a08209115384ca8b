"""Work of one task: write the shard of some videos, complete or not at all; a bad video fails alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.clip_store.writer import ShardWriter
from vicc_ray.config import PrepareConfig
from vicc_ray.datasets.locations import Location, local_file
from vicc_ray.datasets.object_storage import UnreadableFileError
from vicc_ray.sharding.plan import Failure, PlannedVideo, stamp, write_failures
from vicc_ray.sharding.watchdog import Watchdog
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_typed
from vicc_ray.video.decode import VideoError, timeout_reason

MakeRow = Callable[[Path, PlannedVideo], dict[str, Any]]
"""Builds the row of a video from its file and its metadata; raises VideoError if there is none."""
MAX_CRASHES = 2
"""Crashes of the decoding process after which a video is a failure."""
WATCHDOG_FACTOR = 2
"""The process is killed when a video takes this multiple of its time limit: it hangs in C code that cannot check it."""

_CRASH_LOG = ".part-{part}.crashes"


class DecoderCrashError(VideoError):
    """The process died while it decoded this video: a crash of the decoder, or it was killed (out of memory)."""


def write_shard(
    folder: Path,
    part: int,
    videos: Sequence[tuple[Location, PlannedVideo]],
    settings: PrepareConfig,
    writing: AbstractContextManager[ShardWriter],
    make_row: MakeRow,
) -> int:
    """Write one shard. Its failures are written first, so that an existing shard is complete.

    Ray retries a task whose process died, without limit. A crash log tells the retry which video was being decoded.
    A video that takes longer than ``settings.timeout_s`` is a failure. A video that hangs in C code is killed with
    its process, and is a failure in the retry.

    Args:
        videos: locations and metadata.
        writing: opens the writer of the rows; the shard appears when it is closed.

    Returns:
        Number of failures.

    Raises:
        OSError: the folder cannot be written.
    """
    watchdog = Watchdog(folder / f".part-{part:05d}.stuck")
    crash_log = _CrashLog(folder / _CRASH_LOG.format(part=f"{part:05d}"), watchdog.killed_previous)
    try:
        failures: dict[str, Failure] = {}
        with writing as writer:
            for location, video in videos:
                row = _row_or_failure(location, video, settings, make_row, crash_log, watchdog)
                if isinstance(row, Failure):
                    failures[video.id] = row
                else:
                    writer.write(row)
            write_failures(folder, part, failures)
        return len(failures)
    finally:  # both files serve a retry after this process died, and it has not
        crash_log.path.unlink(missing_ok=True)
        watchdog.close()


def is_building(folder: Path) -> bool:
    """Whether a task is building a shard of ``folder``: its crash log exists meanwhile."""
    return any(folder.glob(_CRASH_LOG.format(part="*")))


def _row_or_failure(
    location: Location,
    video: PlannedVideo,
    settings: PrepareConfig,
    make_row: MakeRow,
    crash_log: _CrashLog,
    watchdog: Watchdog,
) -> dict[str, Any] | Failure:
    file = stamp(location, settings)
    crash_log.start(video.id)
    try:
        crash_log.check(video.id, settings.timeout_s)
        with local_file(location) as path, watchdog.guard(WATCHDOG_FACTOR * settings.timeout_s):
            return make_row(path, video)
    except (UnreadableFileError, DecoderCrashError) as error:
        return Failure(str(error), None)  # without a stamp, the next run retries
    except VideoError as error:
        return Failure(str(error), file)
    except Exception as error:  # noqa: BLE001 - any error of a codec must fail one video, not the run
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())}", file)


@dataclass(frozen=True)
class _CrashState:
    video: str
    crashed: list[str]
    hung: list[str]


class _CrashLog:
    """Record of the video that is being decoded, which identifies videos that crash or hang the process.

    Args:
        path: file of the log; only retries of the same task read it.
        hung: whether the previous process was killed because its video took too long.
    """

    def __init__(self, path: Path, hung: bool) -> None:
        self.path = path
        self.crashed: list[str] = []
        self.hung: list[str] = []
        if path.exists():
            state = read_typed(path, _CrashState, "the crash log of a shard", "remove it")
            self.crashed = state.crashed + ([] if hung else [state.video])
            self.hung = state.hung + ([state.video] if hung else [])

    def start(self, video: str) -> None:
        """Record that ``video`` is decoded next."""
        atomic_write(self.path, json.dumps({"video": video, "crashed": self.crashed, "hung": self.hung}))

    def check(self, video: str, timeout_s: float) -> None:
        """Raise DecoderCrashError if ``video`` crashed the process too often, VideoError if it hung."""
        if video in self.hung:
            raise VideoError(f"{timeout_reason(timeout_s)}: one step of the decoder took {WATCHDOG_FACTOR} times that")
        times = self.crashed.count(video)
        if times >= MAX_CRASHES:
            raise DecoderCrashError(f"crashed the decoding process {times} times (a decoder bug, or out of memory)")
