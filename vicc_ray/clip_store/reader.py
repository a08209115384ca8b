"""Reader of a clip store: its catalog, and the compressed frames of single videos.

Frames are compressed in GOPs that decode independently (:mod:`vicc_ray.video.codec`), and each row is a Parquet row
group. So any clip of any video is read without its neighbors. Shapes: T frames, H height, W width, n requested frames,
s = ``flow_downscale``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from vicc_ray.clip_store.catalog import CATALOG_SCHEMA, Catalog, VideoRecord
from vicc_ray.clip_store.remote_cache import RemoteCache
from vicc_ray.clip_store.row_checks import MAX_MEMORY, check_catalog, open_shard, read_blobs
from vicc_ray.clip_store.schema import (
    BLOBS,
    FAILURES_FILE,
    INDEX_FILE,
    METADATA_SCHEMA,
    REMEDY,
    STORE_FILE,
    is_shard,
    read_store_file,
    shard_path,
)
from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.utils.arrow_file import damage_as_user_error, read_parquet
from vicc_ray.utils.fs import unreadable
from vicc_ray.utils.local_paths import is_address, local_path
from vicc_ray.video.codec import DamagedFrameError, Planes, decode_fields, decode_flow, decode_i420, decode_planes

MAX_OPEN_SHARDS = 32
"""Shards that one reader keeps open; the least recently used is closed."""


@dataclass(frozen=True)
class StoredVideo:
    """Compressed frames of one video; only requested frames are decoded.

    Raises:
        UserError: from each method: a frame is damaged.
    """

    entry: VideoRecord
    settings: PrepareConfig
    _rgb: list[bytes] = field(repr=False)
    _flow: list[bytes] = field(repr=False)

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.entry.frames

    def rgb(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """RGB frames uint8 [n, H, W, 3]; ``indices`` is int [n] in 0..T-1, in any order, with repeats allowed."""
        with self._naming_damage():
            wanted = np.asarray(indices, np.int64)
            frames = decode_i420(self._rgb, self.settings.gop_size, wanted, self.entry.height, self.entry.width)
        out = np.empty((len(frames), self.entry.height, self.entry.width, 3), np.uint8)
        for n, frame in enumerate(frames):
            cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420, dst=out[n])
        return out

    def planes(self, wanted: Sequence[int]) -> Iterator[tuple[int, Planes]]:
        """Indices and YUV planes of frames; ``wanted`` is ascending and unique. Planes are valid until the next."""
        with self._naming_damage():
            yield from decode_planes(self._rgb, self.settings.gop_size, wanted, self.entry.height, self.entry.width)

    def flow(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Quantized flow uint8 [n, H / s, W / s, 2] in pixels of [H, W]; see :meth:`rgb` and
        :func:`vicc_ray.video.flow.dequantize`."""
        height, width = self._flow_size
        with self._naming_damage():
            fields = decode_flow(self._flow, self.settings.gop_size, np.asarray(indices, np.int64), height, width)
        return np.stack([fields[..., :width], fields[..., width:]], axis=-1)

    def fields(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Indices and quantized flow as stored, [H / s, 2 W / s] with v to the right of u; see :meth:`planes`."""
        with self._naming_damage():
            yield from decode_fields(self._flow, self.settings.gop_size, wanted, *self._flow_size)

    @property
    def _flow_size(self) -> tuple[int, int]:
        scale = self.settings.flow_downscale
        return self.entry.height // scale, self.entry.width // scale

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except DamagedFrameError as error:
            shard = shard_path(Path(), self.entry.shard)
            raise UserError(f"{shard} of the clip store is damaged ({self.entry.id}: {error}); {REMEDY}") from None


class ClipStore:
    """Reader of a complete clip store; it can be pickled and is thread-safe.

    Args:
        location: local folder, or the address of a folder in a bucket (see :mod:`vicc_ray.clip_store.remote_cache`).

    Raises:
        UserError: there is no clip store, it has another format version, or shards are missing.
    """

    def __init__(self, location: Path | str) -> None:
        remote = isinstance(location, str) and is_address(location)
        self.location = str(location) if remote else str(local_path(location).resolve())
        """Argument that opens the same store in another process; it includes the secrets of the address."""
        self._remote_cache = RemoteCache(self.location, (STORE_FILE, INDEX_FILE)) if remote else None
        self.settings, self.shards = read_store_file(self._file(STORE_FILE).parent)
        if self._remote_cache is None:
            self._check_finished()
        self._entries: Catalog | None = None
        self._reset_cache()

    def __str__(self) -> str:
        return str(self._remote_cache.source) if self._remote_cache else self.location

    def _check_finished(self) -> None:
        present = sum(is_shard(file.name, self.shards) for file in Path(self.location).iterdir())
        if present < self.shards:
            raise UserError(
                f"the clip store {self} is incomplete: {self.shards - present} of {self.shards} shards are missing; "
                "run `vicc-ray prepare` again; it writes only those"
            )

    @property
    def entries(self) -> Catalog:
        """Catalog of all videos, sorted by id; read once."""
        if self._entries is None:
            index = self._file(INDEX_FILE)
            table = _read_index(index, self.shards, self.settings.grid) if index.exists() else self._scan()
            self._entries = Catalog(table.sort_by("id"))
        return self._entries

    @property
    def failures_file(self) -> Path:
        """Failures of ``prepare``; the file may not exist."""
        return self._file(FAILURES_FILE)

    def _file(self, name: str) -> Path:
        return self._remote_cache.file(name) if self._remote_cache else Path(self.location, name)

    def _scan(self) -> pa.Table:
        return pa.concat_tables([self._shard_entries(shard) for shard in range(self.shards)])

    def read(self, entry: VideoRecord, columns: Sequence[str] = BLOBS) -> StoredVideo:
        """Read the compressed frames of a video; ``columns`` selects "rgb", "flow" or both."""
        try:
            with self._lock:
                values = read_blobs(self._open_shard(entry.shard), entry.row, columns)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._damaged(entry.shard, f"{entry.id} cannot be read: {error}") from None
        blobs = dict(zip(columns, values, strict=True))
        return StoredVideo(entry, self.settings, blobs.get("rgb", []), blobs.get("flow", []))

    def _shard_entries(self, shard: int) -> pa.Table:
        table = read_parquet(self._shard(shard), METADATA_SCHEMA, self._remedy(shard), MAX_MEMORY)
        positions = {"shard": np.full(len(table), shard, np.int32), "row": np.arange(len(table), dtype=np.int32)}
        for name, values in positions.items():
            table = table.append_column(name, pa.array(values))
        with damage_as_user_error(self._shard(shard), self._remedy(shard)):
            check_catalog(table, self.shards, self.settings.grid)
        return table

    def _damaged(self, shard: int, what: str) -> UserError:
        if reason := unreadable(self._shard(shard)):
            return reason
        return UserError(f"{self._shard(shard)} is damaged ({what}); {self._remedy(shard)}")

    def _remedy(self, shard: int) -> str:
        return (
            REMEDY if self._remote_cache is None else f"it is a copy from {self}: remove it, and it is downloaded again"
        )

    def _shard(self, shard: int) -> Path:
        return self._file(shard_path(Path(), shard).name)

    def _open_shard(self, shard: int) -> pq.ParquetFile:
        if shard not in self._files:
            self._files[shard] = open_shard(self._shard(shard), self._remedy(shard))
        self._files.move_to_end(shard)
        if len(self._files) > MAX_OPEN_SHARDS:
            self._files.popitem(last=False)[1].close()
        return self._files[shard]

    def _reset_cache(self) -> None:
        """Clear what is not pickled: the catalog and open shards."""
        self._entries = None
        self._lock = Lock()
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_entries", "_lock", "_files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset_cache()


def _read_index(file: Path, shards: int, grid: int) -> pa.Table:
    remedy = "run `vicc-ray prepare` again; it writes the index again"
    table = read_parquet(file, CATALOG_SCHEMA, remedy, MAX_MEMORY)
    with damage_as_user_error(file, remedy):
        check_catalog(table, shards, grid)
    return table.replace_schema_metadata()
