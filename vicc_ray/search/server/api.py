"""Answers of the server as JSON objects: neighbors of an indexed or an uploaded video."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from threading import Lock
from typing import IO, Any, BinaryIO
from urllib.parse import urlencode

from vicc_ray.search.features import embed_chunks
from vicc_ray.search.query import BATCH, index_encoder, query_spec
from vicc_ray.search.ranking import Hit, Query, query_of_row, search
from vicc_ray.search.reader import SearchIndex, missing_files
from vicc_ray.search.reload import ReloadingIndex
from vicc_ray.search.server.decode_pool import DecodePool
from vicc_ray.search.thumbnail import MEDIA_TYPE

Answer = dict[str, Any]
SHOWN = 24
"""Number of videos on the start page."""


class Service:
    """Index with its network and its decoding processes; thread-safe.

    The index may be updated while the server runs. A video is addressed by its row and, because an update may move
    rows, optionally by its id. Methods that take both raise IndexError if there is no such video.

    Args:
        index: the opened index.
        k: number of neighbors in an answer.
        timeout_s: time limit for decoding an uploaded video.
        windows: number of windows of an uploaded video (:func:`vicc_ray.search.query.query_spec`).

    Raises:
        UserError: the network is missing or damaged, or is not the one that computed the features.
    """

    def __init__(self, index: SearchIndex, k: int, timeout_s: float, windows: int | None = None) -> None:
        self._current, self.k, self.timeout_s = ReloadingIndex(index), k, timeout_s
        self.cores = os.cpu_count() or 1
        self._encoder = index_encoder(index)
        spec = query_spec(index.description.spec, self._encoder.model, windows)
        self._decoding = DecodePool(self.cores, spec, timeout_s)
        self._embedding = Lock()

    def close(self) -> None:
        """End the decoding processes."""
        self._decoding.close()

    @property
    def index(self) -> SearchIndex:
        """Current index; take it once per request. Raises UserError if it can no longer be used."""
        return self._current.get()

    def sample(self, named: str = "") -> Answer:
        """A few videos: evenly spaced ones, or those whose id contains ``named``."""
        index = self.index
        rows = index.rows_named(named, SHOWN) if named else _evenly(len(index), SHOWN)
        return {"videos": [_video(index, row) for row in rows]}

    def thumbnail(self, row: int, id: str | None = None) -> bytes:
        """Animated thumbnail of a video, as MP4."""
        index = self.index
        return index.thumbnail(index.row_now(row, id))

    def open_video(self, row: int, id: str | None = None) -> tuple[BinaryIO, str]:
        """Opened video file and its name; raises NoVideoError unless it is on this machine as it was indexed."""
        index = self.index
        row = index.row_now(row, id)
        return index.open_video(row), index.file(row).name.decode(errors="replace").rpartition("/")[2]

    def neighbors(self, row: int, id: str | None = None) -> Answer:
        """Neighbors of an indexed video.

        Raises:
            UserError: the index is damaged.
        """
        index = self.index
        row = index.row_now(row, id)
        shown, clock = _video(index, row), Stopwatch()
        hits = search(index, query_of_row(index, row), self.k)
        clock.lap("search")
        return _answer(index, shown, hits, clock)

    def query_file(self, file: IO[bytes], name: str) -> Answer:
        """Neighbors of an uploaded video.

        Raises:
            VideoError: the file is not a video, or takes too long.
            UserError: the index is damaged.
        """
        clock = Stopwatch()
        chunks = self._decoding.read(file)
        clock.lap("decode")
        with self._embedding:  # one at a time: a call uses all cores
            features = embed_chunks(self._encoder, chunks, BATCH)
        clock.lap("embed")
        index = self.index
        hits = search(index, Query(features.windows), self.k)
        clock.lap("search")
        thumbnail = f"data:{MEDIA_TYPE};base64,{base64.b64encode(features.thumbnail).decode()}"
        shown = {
            "row": None,
            "id": name,
            "label": "",
            "seconds": features.seconds,
            "play": False,
            "thumbnail": thumbnail,
        }
        return _answer(index, shown, hits, clock)


class Stopwatch:
    """Milliseconds of each step of an answer, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, name: str) -> None:
        """Record the time since the last step."""
        now = time.perf_counter()
        self.laps[name] = round(1000 * (now - self._start), 1)
        self._start = now


def _answer(index: SearchIndex, query: Answer, hits: Sequence[Hit], clock: Stopwatch) -> Answer:
    """Answer with the query last: its thumbnail may take 10 KB of base64."""
    results = [{**_video(index, hit.row), "score": hit.score, "start": hit.start, "end": hit.end} for hit in hits]
    note = missing_files(index, [hit.row for hit in hits])
    return {"results": results, "note": note, "took_ms": clock.laps, "query": query}


def _video(index: SearchIndex, row: int) -> Answer:
    video = index.video(row)
    thumbnail = f"thumbnail/{row}?{urlencode({'id': video.id})}"
    return {**asdict(video), "play": index.has_video(row), "thumbnail": thumbnail}


def _evenly(count: int, most: int) -> list[int]:
    return [n * count // min(count, most) for n in range(min(count, most))]
