"""An index that is opened for searching. N videos, n windows of a video, F features."""

from __future__ import annotations

import os
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.errors import UserError
from vicc_ray.search.features import Floats
from vicc_ray.search.index_checks import LARGEST_READ, PART_REMEDY, check_windows, open_part
from vicc_ray.search.index_format import ENCODER_FILE, VIDEOS_FILE, Description, flatten_numbers
from vicc_ray.search.thumbnail import MAX_THUMBNAIL_BYTES
from vicc_ray.search.video_folder import IndexedFile, VideoFolder
from vicc_ray.search.videos_table import REMEDY, read_videos
from vicc_ray.utils.arrow_file import damage_as_user_error
from vicc_ray.utils.local_paths import is_address

OPEN_PARTS = 256
"""Parts whose descriptions are kept in memory, of 50 KB each."""


@dataclass(frozen=True)
class Video:
    """What is known of an indexed video without its features; ``row`` is its number in the index."""

    row: int
    id: str
    label: str
    seconds: float


@dataclass(frozen=True)
class Windows:
    """Features float32 [n, F] of the windows of a video, and their spans float32 [n, 2] in seconds."""

    features: Floats
    spans: Floats


class SearchIndex:
    """The videos of an index; may be used from several threads.

    Args:
        folder: of the index.
        videos: where its videos are now; None: where they were, if this account indexed them there.

    Raises:
        UserError: there is no index, one of another format, or one that is damaged, not finished or empty.
    """

    def __init__(self, folder: Path, videos: VideoFolder | None = None) -> None:
        self.folder = folder
        self._given_videos, self._written = videos, _written(folder)  # before it is read: what comes later is newer
        self.description = Description.read(folder)
        self._remote = is_address(self.description.videos)
        confirmed = [Path(self.description.videos)] if _is_confirmed(self.description) else []
        self.videos = videos or VideoFolder(*confirmed)
        """Its videos on this machine, as far as it is known where they are."""
        self.unconfirmed_videos = "" if videos or confirmed or self._remote else self.description.videos
        """The folder that the index names for its videos, where nobody but its maker says so."""
        self._table, self.mean = read_videos(folder, self.description.features)
        """``mean`` is subtracted from every feature before it is compared, float32 [F]."""
        if not len(self._table):
            raise UserError(f"the index {folder} is empty: none of its videos could be used (see its failures.jsonl)")
        self._units = [_matrix(chunk) for chunk in self._table.column("unit").chunks]
        self._open: OrderedDict[Path, pq.ParquetFile] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def is_current(self) -> bool:
        """Whether no other index has been written into the folder since."""
        return self._written == _written(self.folder)

    def reopened(self) -> SearchIndex:
        """What is there now; this one can still be used."""
        return SearchIndex(self.folder, self._given_videos)

    @property
    def encoder_file(self) -> Path:
        """The network that made the features."""
        return self.folder / ENCODER_FILE

    def video(self, row: int) -> Video:
        """One video.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(row)
        id, label, seconds = (self._table.column(name)[row].as_py() for name in ("id", "label", "seconds"))
        return Video(row, id, label, seconds)

    def row_of(self, id: str) -> int | None:
        """The row of the video of that id, or of the only one whose id differs in Unicode's composition alone."""
        ids = self._table.column("id")
        row = int(pc.index(ids, id).as_py())
        if row >= 0:
            return row
        same = pc.equal(pc.utf8_normalize(ids, "NFC"), unicodedata.normalize("NFC", id))
        alike = pc.indices_nonzero(same).to_pylist()
        return int(alike[0]) if len(alike) == 1 else None

    def row_now(self, row: int, id: str | None = None) -> int:
        """The row of a video of which a row is known, perhaps of the index before, and the id.

        Raises:
            IndexError: there is no such video.
        """
        if id is None or (row < len(self) and self.video(row).id == id):
            return self.video(row).row
        now = self.row_of(id)
        if now is None:
            raise IndexError(id)
        return now

    def rows_named(self, text: str, most: int) -> list[int]:
        """The first rows whose id contains ``text``, in whatever case."""
        found = pc.match_substring(self._table.column("id"), text, ignore_case=True)
        return list(pc.indices_nonzero(found).slice(0, most).to_pylist())

    def similar_ids(self, text: str, most: int = 3) -> list[str]:
        """A few ids that contain the last part of ``text``, or else the first ids of the index."""
        rows = self.rows_named(text.rpartition("/")[2] or text, most) or range(min(most, len(self)))
        return [self.video(row).id for row in rows]

    def has_video(self, row: int) -> bool:
        """Whether the video itself is on this machine, as it was indexed."""
        return self.videos.has(self.file(row))

    def open_video(self, row: int) -> BinaryIO:
        """The video itself; NoVideoError where :meth:`has_video` is false."""
        return self.videos.open(self.file(row))

    def file(self, row: int) -> IndexedFile:
        """The video's file when it was indexed; of one at an address, a copy here has another time."""
        name, size, mtime_ns = (self._table.column(name)[row].as_py() for name in ("file", "size", "mtime_ns"))
        return IndexedFile(name, size, None if self._remote else mtime_ns)

    def similarity(self, queries: Floats) -> Floats:
        """Cosine of each video's mean feature with unit vectors float32 [q, F] from which the mean was subtracted.

        Returns:
            float32 [q, N].

        Raises:
            UserError: some features are no numbers.
        """
        with np.errstate(all="ignore"), damage_as_user_error(self.folder / VIDEOS_FILE, REMEDY):
            similarity = np.concatenate([queries @ block.T for block in self._units], axis=1)
            if not np.isfinite(similarity).all():
                raise ValueError("features that are no numbers")
        return similarity

    def windows(self, rows: Sequence[int]) -> Iterator[Windows]:
        """The windows of some videos, read one after another.

        Raises:
            UserError: a part is damaged.
        """
        return map(self._windows, rows)

    def thumbnail(self, row: int) -> bytes:
        """The moving thumbnail of a video; UserError where the part is damaged."""
        thumbnail = bytes(self._read(row, ["thumbnail"]).column("thumbnail")[0].as_py())
        with damage_as_user_error(self._part_path(row), PART_REMEDY):
            if len(thumbnail) > MAX_THUMBNAIL_BYTES:
                raise ValueError(f"a thumbnail of {len(thumbnail):,} bytes")
        return thumbnail

    def _windows(self, row: int) -> Windows:
        table = self._read(row, ["windows", "start", "end", "id"])
        with damage_as_user_error(self._part_path(row), PART_REMEDY):
            if table.column("id")[0].as_py() != (id := self.video(row).id):
                raise ValueError(f"it does not have {id!r} where {VIDEOS_FILE} says")
            start, end = (flatten_numbers(table.column(name)) for name in ("start", "end"))
            features = flatten_numbers(table.column("windows")).reshape(-1, len(self.mean))
            spans = np.stack([start, end], axis=1)
            check_windows(spans, features)
        return Windows(features, spans)

    def _read(self, row: int, columns: list[str]) -> pa.Table:
        place = int(self._table.column("row")[row].as_py())
        with self._lock, damage_as_user_error(self._part_path(row), PART_REMEDY):
            part = self._part(row)
            if place >= part.num_row_groups:
                raise ValueError(f"no row {place}")
            table = part.read_row_group(place, columns=columns, use_threads=False)
            if len(table) != 1 or any(column.null_count for column in table.columns):
                raise ValueError(f"nothing in row {place}")
            if table.nbytes > LARGEST_READ:
                raise ValueError(f"{table.nbytes:,} bytes in row {place}; {LARGEST_READ:,} are allowed")
            return table

    def _part_path(self, row: int) -> Path:
        return shard_path(self.folder, int(self._table.column("part")[row].as_py()))

    def _part(self, row: int) -> pq.ParquetFile:
        path = self._part_path(row)
        if path not in self._open:
            self._open[path] = open_part(path)
        self._open.move_to_end(path)
        if len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)[1].close()
        return self._open[path]


def _is_confirmed(description: Description) -> bool:
    """Whether the videos lie in a folder that this account indexed itself, and that no link leads away from by now."""
    return description.is_own and os.path.realpath(description.videos) == description.videos


def _written(folder: Path) -> tuple[int, int, int] | None:
    """What tells the videos file from one that took its place."""
    try:
        status = (folder / VIDEOS_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _matrix(column: pa.FixedSizeListArray) -> Floats:
    """float32 [rows, F], in the memory of the file."""
    return np.asarray(column.flatten().to_numpy(zero_copy_only=True)).reshape(len(column), -1)
