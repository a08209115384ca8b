"""The work of one task: the videos of one shard, decoded, with flow, written row by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from vicc_ray.config import PrepareConfig
from vicc_ray.files import atomic_write, content_digest
from vicc_ray.pipelines.plan import Failure, PlannedVideo, stamp, write_failures
from vicc_ray.pipelines.watchdog import Watchdog
from vicc_ray.video.decode import VideoError, open_frames, too_long
from vicc_ray.video.flow import quantise, shrink, with_flow
from vicc_ray.video.sources.places import Place, local_file
from vicc_ray.video.sources.remote import Unreadable
from vicc_ray.video.store import About, encode_video, shard_path, shard_writer

ENDS_ALLOWED = 2
"""How often the process may end that decodes one video before that counts as a failure."""
WATCHDOG_FACTOR = 2
"""A process is ended when one video takes so many times its time limit: it hangs in C code, where nobody looks."""


class EndedProcess(VideoError):
    """The process ended while it decoded this video; the video may be at fault, or whoever kills processes."""


def journal_path(store: Path, shard: int) -> Path:
    """Notes of a shard that is being made; of use only to a repetition of the same task."""
    return store / f".part-{shard:05d}.journal"


def prepare_shard(
    store: Path, shard: int, videos: Sequence[tuple[Place, PlannedVideo]], settings: PrepareConfig
) -> int:
    """Write one shard, and its failures before it, so that a shard that is there is complete.

    Ray repeats a task whose process died, without limit; a journal tells the repetition which video to beware of. A
    video that takes longer than ``settings.time_limit_s`` is a failure; one that hangs where the time is not looked at
    ends the process, and is a failure in the repetition.

    Args:
        videos: files and what is known of them.

    Returns:
        the number of failures.

    Raises:
        OSError: the store cannot be written.
    """
    cv2.setNumThreads(1)
    watchdog = Watchdog(store / f".part-{shard:05d}.stuck")
    journal = _Journal(journal_path(store, shard), watchdog.has_ended_one)
    try:
        failures: dict[str, Failure] = {}
        with shard_writer(shard_path(store, shard)) as writer:
            for place, video in videos:
                row = _row_or_failure(place, video, settings, journal, watchdog)
                if isinstance(row, Failure):
                    failures[video.id] = row
                else:
                    writer.write(row)
            write_failures(store, shard, failures)
        return len(failures)
    finally:  # they are for the case that this process ends, and it has not
        journal.path.unlink(missing_ok=True)
        watchdog.close()


def _row_or_failure(
    place: Place, video: PlannedVideo, settings: PrepareConfig, journal: _Journal, watchdog: Watchdog
) -> dict[str, Any] | Failure:
    file = stamp(place, settings)
    journal.begin(video.id)
    try:
        journal.check(video.id, settings.time_limit_s)
        with local_file(place) as path, watchdog.guard(WATCHDOG_FACTOR * settings.time_limit_s):
            return _row(path, video, settings)
    except (Unreadable, EndedProcess) as error:
        return Failure(str(error), None)  # no stamp: the next call tries again
    except VideoError as error:
        return Failure(str(error), file)
    except Exception as error:  # noqa: BLE001 - whatever a codec does, it must cost one video, not the run
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())}", file)


def _row(path: Path, video: PlannedVideo, settings: PrepareConfig) -> dict[str, Any]:
    with open_frames(
        path,
        short_side=settings.short_side,
        max_frames=settings.max_frames,
        time_limit_s=settings.time_limit_s,
        grid=settings.grid,
    ) as stream:
        about = About(video.id, video.label, video.source, video.split, content_digest(path))
        frames_and_flow = (
            (frame, quantise(shrink(flow, settings.flow_scale), settings.flow_bound))
            for frame, flow in with_flow(stream.frames, settings.flow)
        )
        return encode_video(about, stream.fps, frames_and_flow, settings)


class _Journal:
    """Notes which video is being decoded, so that one that crashes the process is found out and left aside.

    Args:
        stuck: whether the process before this one was ended because its video took too long.
    """

    def __init__(self, path: Path, stuck: bool) -> None:
        self.path = path
        self.ended: list[str] = []
        self.stuck: list[str] = []
        if path.exists():
            before = json.loads(path.read_text())
            self.ended = before["ended"] + ([] if stuck else [before["video"]])
            self.stuck = before["stuck"] + ([before["video"]] if stuck else [])

    def begin(self, video: str) -> None:
        """Note that ``video`` comes next."""
        atomic_write(self.path, json.dumps({"video": video, "ended": self.ended, "stuck": self.stuck}))

    def check(self, video: str, time_limit_s: float) -> None:
        """Raise EndedProcess where the process ended too often at ``video``, VideoError where that took too long."""
        if video in self.stuck:
            raise VideoError(f"{too_long(time_limit_s)}, {WATCHDOG_FACTOR} times over in one step of a decoder")
        times = self.ended.count(video)
        if times >= ENDS_ALLOWED:
            raise EndedProcess(f"ended the decoding process {times} times (a crash of the decoder, or out of memory)")
