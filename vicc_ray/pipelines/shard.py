"""The work of one task: the videos of one shard, decoded, with flow, written row by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vicc_ray.config import PrepareConfig
from vicc_ray.files import atomic_write
from vicc_ray.pipelines.plan import Failure, PlannedVideo, stamp, write_failures
from vicc_ray.video.decode import VideoError, decode_video
from vicc_ray.video.flow import iterate_flow, quantise, shrink
from vicc_ray.video.sources.places import Place, local_file
from vicc_ray.video.sources.remote import Unreadable
from vicc_ray.video.store import encode_video, shard_path, shard_writer

ENDS_ALLOWED = 2
"""How often one video may end the process that decodes it before it counts as a failure."""


def journal_path(store: Path, shard: int) -> Path:
    """Notes of a shard that is being made; of use only to a repetition of the same task."""
    return store / f".part-{shard:05d}.journal"


def prepare_shard(
    store: Path, shard: int, videos: Sequence[tuple[Place, PlannedVideo]], settings: PrepareConfig
) -> int:
    """Write one shard, and its failures before it, so that a shard that is there is complete.

    Ray repeats a task whose process died, without limit; a journal tells the repetition which video to beware of.

    Args:
        videos: files and what is known of them.

    Returns:
        the number of failures.

    Raises:
        OSError: the store cannot be written.
    """
    cv2.setNumThreads(1)
    journal = _Journal(journal_path(store, shard))
    failures: dict[str, Failure] = {}
    with shard_writer(shard_path(store, shard)) as writer:
        for place, video in videos:
            file = stamp(place, settings)
            journal.begin(video.id)
            try:
                journal.check(video.id)
                with local_file(place) as path:
                    row = _row(path, video, settings)
            except Unreadable as error:
                failures[video.id] = Failure(str(error), None)  # no stamp: the next call tries again
            except VideoError as error:
                failures[video.id] = Failure(str(error), file)
            except Exception as error:  # noqa: BLE001 - whatever a codec does, it must cost one video, not the run
                failures[video.id] = Failure(f"{type(error).__name__}: {' '.join(str(error).split())}", file)
            else:
                writer.write(row)
        write_failures(store, shard, failures)
    journal.path.unlink(missing_ok=True)
    return len(failures)


def _row(path: Path, video: PlannedVideo, settings: PrepareConfig) -> dict[str, Any]:
    decoded = decode_video(
        path,
        short_side=settings.short_side,
        max_frames=settings.max_frames,
        time_limit_s=settings.time_limit_s,
        grid=settings.grid,
    )
    fields = iterate_flow(decoded.frames, settings.flow)
    flow = np.stack([quantise(shrink(field, settings.flow_scale), settings.flow_bound) for field in fields])
    return encode_video(video.id, video.label, video.source, video.split, decoded, flow, settings)


class _Journal:
    """Notes which video is being decoded, so that one that crashes the process is found out and left aside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended: list[str] = []
        if path.exists():
            before = json.loads(path.read_text())
            self.ended = [*before["ended"], before["video"]]

    def begin(self, video: str) -> None:
        """Note that ``video`` comes next."""
        atomic_write(self.path, json.dumps({"video": video, "ended": self.ended}))

    def check(self, video: str) -> None:
        """Raise VideoError where ``video`` has ended the process too often."""
        times = self.ended.count(video)
        if times >= ENDS_ALLOWED:
            raise VideoError(f"ended the decoding process {times} times (a crash of the decoder, or out of memory)")
