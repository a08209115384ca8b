"""The work of one task: the videos of one part of a folder, whole or absent; whatever a video does costs it alone."""

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
from vicc_ray.utils.json_file import read_as
from vicc_ray.video.decode import VideoError, timeout_reason

MakeRow = Callable[[Path, PlannedVideo], dict[str, Any]]
"""Of a file and what is known of it to a row; VideoError where it gives none."""
MAX_CRASHES = 2
"""How often the process may end that decodes one video before that counts as a failure."""
WATCHDOG_FACTOR = 2
"""A process is ended when one video takes so many times its time limit: it hangs in C code, where nobody looks."""


class DecoderCrashError(VideoError):
    """The process ended while it decoded this video; the video may be at fault, or whoever kills processes."""


def write_shard(
    folder: Path,
    part: int,
    videos: Sequence[tuple[Location, PlannedVideo]],
    settings: PrepareConfig,
    writing: AbstractContextManager[ShardWriter],
    make_row: MakeRow,
) -> int:
    """Write one part, and its failures before it, so that a part that is there is complete.

    Ray repeats a task whose process died, without limit; a journal tells the repetition which video to beware of. A
    video that takes longer than ``settings.time_limit_s`` is a failure; one that hangs where the time is not looked at
    ends the process, and is a failure in the repetition.

    Args:
        videos: files and what is known of them.
        writing: what takes the rows; the part appears at its end.

    Returns:
        the number of failures.

    Raises:
        OSError: the folder cannot be written.
    """
    watchdog = Watchdog(folder / f".part-{part:05d}.stuck")
    journal = _Journal(folder / f".part-{part:05d}.journal", watchdog.killed_previous)
    try:
        failures: dict[str, Failure] = {}
        with writing as writer:
            for location, video in videos:
                row = _row_or_failure(location, video, settings, make_row, journal, watchdog)
                if isinstance(row, Failure):
                    failures[video.id] = row
                else:
                    writer.write(row)
            write_failures(folder, part, failures)
        return len(failures)
    finally:  # they are for the case that this process ends, and it has not
        journal.path.unlink(missing_ok=True)
        watchdog.close()


def _row_or_failure(
    location: Location,
    video: PlannedVideo,
    settings: PrepareConfig,
    make_row: MakeRow,
    journal: _Journal,
    watchdog: Watchdog,
) -> dict[str, Any] | Failure:
    file = stamp(location, settings)
    journal.begin(video.id)
    try:
        journal.check(video.id, settings.time_limit_s)
        with local_file(location) as path, watchdog.guard(WATCHDOG_FACTOR * settings.time_limit_s):
            return make_row(path, video)
    except (UnreadableFileError, DecoderCrashError) as error:
        return Failure(str(error), None)  # no stamp: the next call tries again
    except VideoError as error:
        return Failure(str(error), file)
    except Exception as error:  # noqa: BLE001 - whatever a codec does, it must cost one video, not the run
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())}", file)


@dataclass(frozen=True)
class _Begun:
    video: str
    ended: list[str]
    stuck: list[str]


class _Journal:
    """Notes which video is being decoded, so that one that crashes the process is found out and left aside.

    Args:
        path: notes of a part that is being made; of use only to a repetition of the same task.
        stuck: whether the process before this one was ended because its video took too long.
    """

    def __init__(self, path: Path, stuck: bool) -> None:
        self.path = path
        self.ended: list[str] = []
        self.stuck: list[str] = []
        if path.exists():
            before = read_as(path, _Begun, "the notes of a part that was being made", "remove it")
            self.ended = before.ended + ([] if stuck else [before.video])
            self.stuck = before.stuck + ([before.video] if stuck else [])

    def begin(self, video: str) -> None:
        """Note that ``video`` comes next."""
        atomic_write(self.path, json.dumps({"video": video, "ended": self.ended, "stuck": self.stuck}))

    def check(self, video: str, time_limit_s: float) -> None:
        """Raise EndedProcess where the process ended too often at ``video``, VideoError where that took too long."""
        if video in self.stuck:
            raise VideoError(f"{timeout_reason(time_limit_s)}, {WATCHDOG_FACTOR} times over in one step of a decoder")
        times = self.ended.count(video)
        if times >= MAX_CRASHES:
            raise DecoderCrashError(
                f"ended the decoding process {times} times (a crash of the decoder, or out of memory)"
            )
