"""An index that is opened for searching. N videos, n windows of a video, F features."""

from __future__ import annotations

import os
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vicc_ray.errors import UserError
from vicc_ray.files import unreadable
from vicc_ray.local_paths import is_address
from vicc_ray.search.features import Floats
from vicc_ray.search.index_folder import ENCODER_FILE, MEAN, VIDEOS_FILE, Description, damaged_part, features_of
from vicc_ray.video.store import shard_path

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
        videos: folder where its videos are now; None: where they were.

    Raises:
        UserError: there is no index, one of another format, or one that is damaged, not finished or empty.
    """

    def __init__(self, folder: Path, videos: Path | None = None) -> None:
        self.folder = folder
        self._given_videos, self._written = videos, _written(folder)  # before it is read: what comes later is newer
        self.description = Description.read(folder)
        remote = is_address(self.description.videos)
        self.videos = videos or (None if remote else Path(self.description.videos))
        """Folder of the videos on this machine, if they are on it."""
        self._table = self._read_table()
        if not len(self._table):
            raise UserError(f"the index {folder} is empty: none of its videos could be used (see its failures.jsonl)")
        self.mean = np.frombuffer(self._table.schema.metadata[MEAN], np.float32)
        """What is subtracted from every feature before it is compared, float32 [F]."""
        self._units = [_matrix(chunk) for chunk in self._table.column("unit").chunks]
        self._open: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._lock = Lock()

    def _read_table(self) -> pa.Table:
        path = self.folder / VIDEOS_FILE
        try:
            with pa.memory_map(str(path)) as file:
                return pa.ipc.open_file(file).read_all()
        except FileNotFoundError:
            raise UserError(
                f"the index {self.folder} is not finished (no {VIDEOS_FILE}); give the same `vicc-ray index` again"
            ) from None
        except (OSError, pa.ArrowException) as error:
            reason = UserError(
                f"{path} is damaged ({error}); remove it and give the same `vicc-ray index` again: it is made anew"
            )
            raise (unreadable(path) or reason) from None

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

    def file(self, row: int) -> Path | None:
        """The video itself, where it is on this machine and has not moved."""
        name = os.fsdecode(self._table.column("file")[row].as_py())
        if self.videos is None or ".." in Path(name).parts or Path(name).is_absolute():
            return None
        path = self.videos / name
        return path if path.is_file() else None

    def similarity(self, queries: Floats) -> Floats:
        """Cosine of each video's mean feature with unit vectors float32 [q, F] from which the mean was subtracted.

        Returns:
            float32 [q, N].
        """
        return np.concatenate([queries @ block.T for block in self._units], axis=1)

    def windows(self, rows: Sequence[int]) -> list[Windows]:
        """The windows of some videos.

        Raises:
            UserError: a part is damaged.
        """
        return [self._windows(row) for row in rows]

    def film(self, row: int) -> bytes:
        """The moving thumbnail of a video; UserError where the part is damaged."""
        return bytes(self._read(row, ["film"]).column("film")[0].as_py())

    def _windows(self, row: int) -> Windows:
        table = self._read(row, ["windows", "start", "end"])
        spans = [np.asarray(table.column(name).combine_chunks().flatten(), np.float32) for name in ("start", "end")]
        return Windows(features_of(table.column("windows"), len(self.mean)), np.stack(spans, axis=1))

    def _read(self, row: int, columns: list[str]) -> pa.Table:
        part, place = (int(self._table.column(name)[row].as_py()) for name in ("part", "row"))
        try:
            with self._lock:
                return self._part(part).read_row_group(place, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise damaged_part(shard_path(self.folder, part), error) from None

    def _part(self, part: int) -> pq.ParquetFile:
        if part not in self._open:
            self._open[part] = pq.ParquetFile(shard_path(self.folder, part), page_checksum_verification=True)
        self._open.move_to_end(part)
        if len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)[1].close()
        return self._open[part]


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
