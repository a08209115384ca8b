"""What the server answers with: the neighbours of a video of the index or of one that was sent, as JSON has it."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from threading import Lock
from typing import IO, Any, BinaryIO
from urllib.parse import urlencode

from vicc_ray.search.features import embed_pieces
from vicc_ray.search.missing import missing_files
from vicc_ray.search.query import BATCH, index_encoder, query_view
from vicc_ray.search.ranking import Hit, Query, query_of_row, search
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.reload import ReloadingIndex
from vicc_ray.search.server.decode_pool import DecodingProcesses
from vicc_ray.search.thumbnail import MEDIA_TYPE

Answer = dict[str, Any]
SHOWN = 24
"""Videos to begin with."""


class Service:
    """An index with its network and its decoding processes; may be used from several threads.

    Videos that are indexed while it runs are seen. A video is asked for by its row, and, since rows may move when that
    happens, by its id too; methods that take both raise IndexError where there is no such video.

    Args:
        index: as it was opened for the start.
        k: how many neighbours an answer has.
        timeout_s: for decoding a video that was sent.
        windows: how many are looked at of a video that was sent (`query_view`).

    Raises:
        UserError: the network of the index is missing, damaged or another one.
    """

    def __init__(self, index: SearchIndex, k: int, timeout_s: float, windows: int | None = None) -> None:
        self._current, self.k, self.timeout_s = ReloadingIndex(index), k, timeout_s
        self.cores = os.cpu_count() or 1
        self._encoder = index_encoder(index)
        view = query_view(index.description.view, self._encoder.model, windows)
        self._decoding = DecodingProcesses(self.cores, view, timeout_s)
        self._embedding = Lock()

    def close(self) -> None:
        """End the processes."""
        self._decoding.close()

    @property
    def index(self) -> SearchIndex:
        """As it is now: to be taken once for a request. UserError where it cannot be used any more."""
        return self._current.get()

    def some(self, named: str = "") -> Answer:
        """A few videos: evenly chosen ones, or those whose id contains ``named``."""
        index = self.index
        rows = index.rows_named(named, SHOWN) if named else _evenly(len(index), SHOWN)
        return {"videos": [_video(index, row) for row in rows]}

    def film(self, row: int, id: str | None = None) -> bytes:
        """The moving thumbnail of a video."""
        index = self.index
        return index.film(index.row_now(row, id))

    def open_video(self, row: int, id: str | None = None) -> tuple[BinaryIO, str]:
        """The video itself, and its name; NoVideoError where it is not on this machine as it was indexed."""
        index = self.index
        row = index.row_now(row, id)
        return index.open_video(row), index.file(row).name.decode(errors="replace").rpartition("/")[2]

    def like(self, row: int, id: str | None = None) -> Answer:
        """The neighbours of a video of the index.

        Raises:
            UserError: the index is damaged.
        """
        index = self.index
        row = index.row_now(row, id)
        shown, clock = _video(index, row), Stopwatch()
        hits = search(index, query_of_row(index, row), self.k)
        clock.lap("search")
        return _answer(index, shown, hits, clock)

    def ask(self, file: IO[bytes], name: str) -> Answer:
        """The neighbours of a video, of which an open file is given.

        Raises:
            VideoError: it is no video, or takes too long.
            UserError: the index is damaged.
        """
        clock = Stopwatch()
        pieces = self._decoding.read(file)
        clock.lap("decode")
        with self._embedding:  # torch uses all cores for one
            found = embed_pieces(self._encoder, pieces, BATCH)
        clock.lap("embed")
        index = self.index
        hits = search(index, Query(found.windows), self.k)
        clock.lap("search")
        film = f"data:{MEDIA_TYPE};base64,{base64.b64encode(found.film).decode()}"
        shown = {"row": None, "id": name, "label": "", "seconds": found.seconds, "play": False, "film": film}
        return _answer(index, shown, hits, clock)


class Stopwatch:
    """Milliseconds of the steps of an answer, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._begun = time.perf_counter()

    def lap(self, name: str) -> None:
        """A step has ended."""
        now = time.perf_counter()
        self.laps[name] = round(1000 * (now - self._begun), 1)
        self._begun = now


def _answer(index: SearchIndex, query: Answer, hits: Sequence[Hit], clock: Stopwatch) -> Answer:
    """The query comes last, since its film may be 10 KB of letters."""
    results = [{**_video(index, hit.row), "score": hit.score, "start": hit.start, "end": hit.end} for hit in hits]
    note = missing_files(index, [hit.row for hit in hits])
    return {"results": results, "note": note, "took_ms": clock.laps, "query": query}


def _video(index: SearchIndex, row: int) -> Answer:
    video = index.video(row)
    film = f"film/{row}?{urlencode({'id': video.id})}"
    return {**asdict(video), "play": index.has_video(row), "film": film}


def _evenly(count: int, most: int) -> list[int]:
    return [n * count // min(count, most) for n in range(min(count, most))]
