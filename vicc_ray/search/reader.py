"""Reader of a search index. N videos, n windows of a video, F features."""

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
"""Open parts to cache; the metadata of each takes 50 KB."""


@dataclass(frozen=True)
class IndexedVideo:
    """Metadata of an indexed video; ``row`` is its number in the index."""

    row: int
    id: str
    label: str
    seconds: float


@dataclass(frozen=True)
class VideoWindows:
    """Window features float32 [n, F] of a video, and their spans float32 [n, 2] in seconds."""

    features: Floats
    spans: Floats


class SearchIndex:
    """Search index opened for reading; thread-safe.

    Args:
        folder: folder of the index.
        videos: folder of the videos; None uses the recorded folder if this account indexed it.

    Raises:
        UserError: the index is missing, damaged, unfinished, empty, or of another format.
    """

    def __init__(self, folder: Path, videos: VideoFolder | None = None) -> None:
        self.folder = folder
        self._given_videos = videos
        self._written = _written(folder)  # before reading, so that any later write counts as a change
        self.description = Description.read(folder)
        self._remote = is_address(self.description.videos)
        confirmed = [Path(self.description.videos)] if _is_confirmed(self.description) else []
        self.videos = videos or VideoFolder(*confirmed)
        """Local video files, if their location is known."""
        self.unconfirmed_videos = "" if videos or confirmed or self._remote else self.description.videos
        """Recorded video folder if only the maker of the index vouches for it; "" otherwise."""
        self._table, self.mean = read_videos(folder, self.description.features)
        """``mean``, float32 [F], is subtracted from every feature before comparison."""
        if not len(self._table):
            raise UserError(f"the index {folder} is empty: none of its videos could be used (see its failures.jsonl)")
        self._units = [_matrix(chunk) for chunk in self._table.column("unit").chunks]
        self._open: OrderedDict[Path, pq.ParquetFile] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def is_current(self) -> bool:
        """Whether the folder is unchanged since it was opened."""
        return self._written == _written(self.folder)

    def reopened(self) -> SearchIndex:
        """Reader of the current index in the folder; this one stays usable."""
        return SearchIndex(self.folder, self._given_videos)

    @property
    def encoder_file(self) -> Path:
        """Encoder that computed the features."""
        return self.folder / ENCODER_FILE

    def video(self, row: int) -> IndexedVideo:
        """Metadata of one video.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(row)
        id, label, seconds = (self._table.column(name)[row].as_py() for name in ("id", "label", "seconds"))
        return IndexedVideo(row, id, label, seconds)

    def row_of(self, id: str) -> int | None:
        """Row of the video with this id, or of the only one whose id is equal after Unicode normalization (NFC)."""
        ids = self._table.column("id")
        row = int(pc.index(ids, id).as_py())
        if row >= 0:
            return row
        same = pc.equal(pc.utf8_normalize(ids, "NFC"), unicodedata.normalize("NFC", id))
        alike = pc.indices_nonzero(same).to_pylist()
        return int(alike[0]) if len(alike) == 1 else None

    def row_now(self, row: int, id: str | None = None) -> int:
        """Current row of a video, given a row that may be from an earlier index and, optionally, its id.

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
        """First rows whose id contains ``text``, case-insensitively."""
        matches = pc.match_substring(self._table.column("id"), text, ignore_case=True)
        return list(pc.indices_nonzero(matches).slice(0, most).to_pylist())

    def similar_ids(self, text: str, most: int = 3) -> list[str]:
        """Up to ``most`` ids that contain the last path component of ``text``, or else the first ids of the index."""
        rows = self.rows_named(text.rpartition("/")[2] or text, most) or range(min(most, len(self)))
        return [self.video(row).id for row in rows]

    def has_video(self, row: int) -> bool:
        """Whether the video file is on this machine, unchanged since indexing."""
        return self.videos.has(self.file(row))

    def open_video(self, row: int) -> BinaryIO:
        """Opened video file; NoVideoError where :meth:`has_video` is false."""
        return self.videos.open(self.file(row))

    def file(self, row: int) -> IndexedFile:
        """Video file as indexed; a local copy of a remote file has another mtime, so that is not compared."""
        name, size, mtime_ns = (self._table.column(name)[row].as_py() for name in ("file", "size", "mtime_ns"))
        return IndexedFile(name, size, None if self._remote else mtime_ns)

    def similarity(self, queries: Floats) -> Floats:
        """Cosine of each video's mean feature with unit vectors float32 [q, F] from which the mean was subtracted.

        Returns:
            float32 [q, N].

        Raises:
            UserError: some features are not finite.
        """
        with np.errstate(all="ignore"), damage_as_user_error(self.folder / VIDEOS_FILE, REMEDY):
            similarity = np.concatenate([queries @ block.T for block in self._units], axis=1)
            if not np.isfinite(similarity).all():
                raise ValueError("features that are not finite")
        return similarity

    def windows(self, rows: Sequence[int]) -> Iterator[VideoWindows]:
        """Windows of the videos in ``rows``, read lazily.

        Raises:
            UserError: a part is damaged.
        """
        return map(self._windows, rows)

    def thumbnail(self, row: int) -> bytes:
        """Animated thumbnail of a video as MP4; UserError if the part is damaged."""
        thumbnail = bytes(self._read(row, ["thumbnail"]).column("thumbnail")[0].as_py())
        with damage_as_user_error(self._part_path(row), PART_REMEDY):
            if len(thumbnail) > MAX_THUMBNAIL_BYTES:
                raise ValueError(f"a thumbnail of {len(thumbnail):,} bytes")
        return thumbnail

    def _windows(self, row: int) -> VideoWindows:
        table = self._read(row, ["windows", "start", "end", "id"])
        with damage_as_user_error(self._part_path(row), PART_REMEDY):
            if table.column("id")[0].as_py() != (id := self.video(row).id):
                raise ValueError(f"it does not have {id!r} in the row that {VIDEOS_FILE} names")
            start, end = (flatten_numbers(table.column(name)) for name in ("start", "end"))
            features = flatten_numbers(table.column("windows")).reshape(-1, len(self.mean))
            spans = np.stack([start, end], axis=1)
            check_windows(spans, features)
        return VideoWindows(features, spans)

    def _read(self, row: int, columns: list[str]) -> pa.Table:
        place = int(self._table.column("row")[row].as_py())
        with self._lock, damage_as_user_error(self._part_path(row), PART_REMEDY):
            part = self._part(row)
            if place >= part.num_row_groups:
                raise ValueError(f"no row {place}")
            table = part.read_row_group(place, columns=columns, use_threads=False)
            if len(table) != 1 or any(column.null_count for column in table.columns):
                raise ValueError(f"no values in row {place}")
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


def missing_files(index: SearchIndex, rows: Sequence[int]) -> str:
    """Message with the number of videos in ``rows`` whose files are missing, and what to do; "" if none are.

    Files of a remote index are not checked, because a request per video would take longer than the search. Without a
    known video folder there is nothing to check either.
    """
    if not index.videos.folders:
        return ""
    missing = sum(not index.has_video(row) for row in rows)
    if not missing:
        return ""
    folders = " and ".join(map(str, index.videos.folders))
    return (
        f"{missing} of these {len(rows)} videos {'is' if missing == 1 else 'are'} missing from {folders}, or changed "
        "since indexing. The results are still correct; name the current folder with --videos FOLDER"
    )


def _is_confirmed(description: Description) -> bool:
    """Whether this account indexed the video folder, and its path still resolves to itself without links."""
    return description.is_own and os.path.realpath(description.videos) == description.videos


def _written(folder: Path) -> tuple[int, int, int] | None:
    """Identity of the videos file: inode, size and mtime; None if it is missing."""
    try:
        status = (folder / VIDEOS_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _matrix(column: pa.FixedSizeListArray) -> Floats:
    """Zero-copy view of a column as float32 [rows, F]."""
    return np.asarray(column.flatten().to_numpy(zero_copy_only=True)).reshape(len(column), -1)
