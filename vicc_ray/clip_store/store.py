"""The clip store: one row a video, in Parquet shards beside ``store.json``.

Frames are compressed in groups that decode by themselves (:mod:`vicc_ray.video.codec`), and each row is a row group
of its own: any video, and any clip of it, is read without its neighbours. Shapes: T frames, H height, W width, n frames
asked for, s = ``flow_scale``.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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
from vicc_ray.clip_store.row_checks import MOST_MEMORY, check_entries, open_shard, read_blobs
from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.utils.arrow_file import naming_damage, read_parquet
from vicc_ray.utils.fs import atomic_path, atomic_write, unreadable
from vicc_ray.utils.json_file import read_json
from vicc_ray.utils.local_paths import is_address, local_path
from vicc_ray.video.codec import (
    DamagedFrameError,
    FlowEncoder,
    Planes,
    RgbEncoder,
    decode_fields,
    decode_flow,
    decode_i420,
    decode_planes,
)

FORMAT = 2
"""Version of the layout; a store of another one is refused."""
STORE_FILE = "store.json"
INDEX_FILE = "index.parquet"
"""All entries in one file, there while the store is whole: opening it does not touch the shards."""
FAILURES_FILE = "failures.jsonl"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # path below the videos folder
        ("label", pa.string()),  # class, "" where unknown
        ("source", pa.string()),  # the original recording: videos of one source are never split
        ("split", pa.string()),  # "train", "test" or "" (in neither)
        ("content", pa.string()),  # BLAKE2b-128 of the file's bytes, hexadecimal: what tells the same file twice
        ("fps", pa.float64()),
        ("frames", pa.int32()),  # T
        ("height", pa.int32()),  # H
        ("width", pa.int32()),  # W
        ("rgb", pa.list_(pa.binary())),  # T H.264 packets
        ("flow", pa.list_(pa.binary())),  # a JPEG a group: quantised u, and v to its right, of [H / s, W / s] each
    ]
)
BLOBS = ("rgb", "flow")
KNOWN = pa.schema([field for field in SCHEMA if field.name not in BLOBS])
"""What is known of a video beside its frames."""
MOST_SHARDS = 10**6
REMEDY = "remove that file and run `vicc-ray prepare` again, it makes only what is missing"
_SHARD = re.compile(r"part-(\d{5,9})\.parquet")
OPEN_SHARDS = 32
"""Shards that one reader keeps open."""


def shard_path(store: Path, shard: int) -> Path:
    """Path of shard number ``shard``."""
    return store / f"part-{shard:05d}.parquet"


@dataclass(frozen=True)
class VideoMetadata:
    """What is told of a video beside its frames; the fields are columns of :data:`SCHEMA`."""

    id: str
    label: str = ""
    source: str = ""
    split: str = ""
    content: str = ""


def encode_video(
    about: VideoMetadata,
    fps: float,
    frames_and_flow: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    settings: PrepareConfig,
) -> dict[str, Any]:
    """A row of the store. The pairs are taken one by one, and only their compressed form is held.

    Args:
        frames_and_flow: of each frame the picture, uint8 [H, W, 3], H and W multiples of ``settings.grid``, and its
            quantised flow, uint8 [H / s, W / s, 2].

    Raises:
        ValueError: no frame, H or W is no such multiple, the flow has another size, or the size changes.
    """
    sizes: set[tuple[int, ...]] = set()
    tiles = FlowEncoder(settings.group, settings.flow_quality)
    for frame, flow in frames_and_flow:
        if not sizes:
            _check_sizes(frame, flow, settings)
            rgb = RgbEncoder(frame.shape[0], frame.shape[1], settings.group, settings.rgb_crf)
        sizes.add((*frame.shape, *flow.shape))
        rgb.push(frame)
        tiles.push(flow)
    if len(sizes) != 1:
        raise ValueError(f"frames and flow of one size are needed, those given have {sorted(sizes) or 'none'}")
    ((height, width, *_),) = sizes
    packets = rgb.packets()
    what = {"fps": fps, "frames": len(packets), "height": height, "width": width}
    return {**asdict(about), **what, "rgb": packets, "flow": tiles.tiles()}


def _check_sizes(frame: NDArray[np.uint8], flow: NDArray[np.uint8], settings: PrepareConfig) -> None:
    height, width = frame.shape[:2]
    if height % settings.grid or width % settings.grid:
        raise ValueError(f"frames are {height} x {width}, not multiples of {settings.grid}")
    if flow.shape[:2] != (height // settings.flow_scale, width // settings.flow_scale):
        raise ValueError(f"frames are {frame.shape[:2]} but their flow is {flow.shape[:2]}")


class ShardWriter:
    """Writes the rows of one shard as they come; nothing but the current row is held."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self.rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Append a row: that of :func:`encode_video` in a clip store."""
        self._writer.write_table(pa.Table.from_pylist([row], schema=self._schema))
        self.rows += 1


@contextmanager
def shard_writer(path: Path, schema: pa.Schema = SCHEMA) -> Iterator[ShardWriter]:
    """A :class:`ShardWriter` whose file appears at ``path``, whole, when the block ends without an error."""
    with (
        atomic_path(path) as aside,
        pq.ParquetWriter(aside, schema, compression="none", use_dictionary=False, write_page_checksum=True) as writer,
    ):
        yield ShardWriter(writer, schema)


@dataclass(frozen=True)
class StoredVideo:
    """The compressed frames of one video; only those asked for are decompressed.

    The methods take frames as int [n] in 0..T-1, in any order, repeated or not.

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
        """Frames uint8 [n, H, W, 3]."""
        with self._naming_damage():
            wanted = np.asarray(indices, np.int64)
            frames = decode_i420(self._rgb, self.settings.group, wanted, self.entry.height, self.entry.width)
        out = np.empty((len(frames), self.entry.height, self.entry.width, 3), np.uint8)
        for n, frame in enumerate(frames):
            cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420, dst=out[n])
        return out

    def planes(self, wanted: Sequence[int]) -> Iterator[tuple[int, Planes]]:
        """Frames, ascending and each once, as they are stored: each with its index, to be used before the next."""
        with self._naming_damage():
            yield from decode_planes(self._rgb, self.settings.group, wanted, self.entry.height, self.entry.width)

    def flow(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Quantised flow uint8 [n, H / s, W / s, 2] in pixels of [H, W] (:func:`vicc_ray.video.flow.dequantise`)."""
        height, width = self._flow_size
        with self._naming_damage():
            fields = decode_flow(self._flow, self.settings.group, np.asarray(indices, np.int64), height, width)
        return np.stack([fields[..., :width], fields[..., width:]], axis=-1)

    def fields(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Quantised flow, ascending and each once, as it is stored: [H / s, 2 W / s], v to the right of u."""
        with self._naming_damage():
            yield from decode_fields(self._flow, self.settings.group, wanted, *self._flow_size)

    @property
    def _flow_size(self) -> tuple[int, int]:
        scale = self.settings.flow_scale
        return self.entry.height // scale, self.entry.width // scale

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except DamagedFrameError as error:
            shard = shard_path(Path(), self.entry.shard)
            raise UserError(f"{shard} of the clip store is damaged ({self.entry.id}: {error}); {REMEDY}") from None


class ClipStore:
    """A finished clip store, for reading; can be pickled and used from several threads.

    Args:
        location: its folder, or the address of a folder in a bucket (see :mod:`vicc_ray.clip_store.remote_cache`).

    Raises:
        UserError: there is no clip store, or one of another format, or one that is not finished.
    """

    def __init__(self, location: Path | str) -> None:
        remote = isinstance(location, str) and is_address(location)
        self.location = str(location) if remote else str(local_path(location).resolve())
        """What opens the same store in another process, with the secrets of the address."""
        self._mirror = RemoteCache(self.location, (STORE_FILE, INDEX_FILE)) if remote else None
        self.settings, self.shards = read_store_file(self._file(STORE_FILE).parent)
        if self._mirror is None:
            self._check_finished()
        self._entries: Catalog | None = None
        self._forget()

    def __str__(self) -> str:
        return str(self._mirror.source) if self._mirror else self.location

    def _check_finished(self) -> None:
        there = sum(_is_shard(file.name, self.shards) for file in Path(self.location).iterdir())
        if there < self.shards:
            raise UserError(
                f"the clip store {self} is not finished: {self.shards - there} of {self.shards} shards are missing; "
                "run `vicc-ray prepare` again, it makes only those"
            )

    @property
    def entries(self) -> Catalog:
        """All stored videos, sorted by id; read once, without their frames."""
        if self._entries is None:
            index = self._file(INDEX_FILE)
            table = _read_index(index, self.shards, self.settings.grid) if index.exists() else self._scan()
            self._entries = Catalog(table.sort_by("id"))
        return self._entries

    @property
    def failures_file(self) -> Path:
        """The failures of the preparation; the file may not be there."""
        return self._file(FAILURES_FILE)

    def _file(self, name: str) -> Path:
        return self._mirror.file(name) if self._mirror else Path(self.location, name)

    def _scan(self) -> pa.Table:
        return pa.concat_tables([self._shard_entries(shard) for shard in range(self.shards)])

    def read(self, entry: VideoRecord, columns: Sequence[str] = BLOBS) -> StoredVideo:
        """The compressed frames of a video; ``columns`` may leave out "rgb" or "flow" where it is not needed."""
        try:
            with self._lock:
                found = read_blobs(self._opened(entry.shard), entry.row, columns)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._damaged(entry.shard, f"{entry.id} cannot be read: {error}") from None
        blobs = dict(zip(columns, found, strict=True))
        return StoredVideo(entry, self.settings, blobs.get("rgb", []), blobs.get("flow", []))

    def _shard_entries(self, shard: int) -> pa.Table:
        table = read_parquet(self._shard(shard), KNOWN, self._remedy(shard), MOST_MEMORY)
        places = {"shard": np.full(len(table), shard, np.int32), "row": np.arange(len(table), dtype=np.int32)}
        for name, values in places.items():
            table = table.append_column(name, pa.array(values))
        with naming_damage(self._shard(shard), self._remedy(shard)):
            check_entries(table, self.shards, self.settings.grid)
        return table

    def _damaged(self, shard: int, what: str) -> UserError:
        if reason := unreadable(self._shard(shard)):
            return reason
        return UserError(f"{self._shard(shard)} is damaged ({what}); {self._remedy(shard)}")

    def _remedy(self, shard: int) -> str:
        return REMEDY if self._mirror is None else f"it was copied from {self}; remove it: it is copied again"

    def _shard(self, shard: int) -> Path:
        return self._file(shard_path(Path(), shard).name)

    def _opened(self, shard: int) -> pq.ParquetFile:
        if shard not in self._files:
            self._files[shard] = open_shard(self._shard(shard), self._remedy(shard))
        self._files.move_to_end(shard)
        if len(self._files) > OPEN_SHARDS:
            self._files.popitem(last=False)[1].close()
        return self._files[shard]

    def _forget(self) -> None:
        """What a copy in another process finds out by itself."""
        self._entries = None
        self._lock = Lock()
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_entries", "_lock", "_files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def write_index(store: Path, entries: Catalog) -> None:
    """Write ``index.parquet`` of a finished store; to be removed before a shard is made again."""
    with atomic_path(store / INDEX_FILE) as aside:
        pq.write_table(entries.table, aside)


def _read_index(file: Path, shards: int, grid: int) -> pa.Table:
    remedy = "run `vicc-ray prepare` again, it makes it anew"
    table = read_parquet(file, CATALOG_SCHEMA, remedy, MOST_MEMORY)
    with naming_damage(file, remedy):
        check_entries(table, shards, grid)
    return table.replace_schema_metadata()


def write_store_file(store: Path, settings: PrepareConfig, shards: int) -> None:
    """Write ``store.json``: the format's version, the settings, the number of shards that make the store whole."""
    content = {"format": FORMAT, "settings": settings.model_dump(), "shards": shards}
    atomic_write(store / STORE_FILE, json.dumps(content, indent=2) + "\n")


def read_store_file(store: Path) -> tuple[PrepareConfig, int]:
    """What ``store.json`` says: the settings, and how many shards make the store whole.

    Raises:
        UserError: it is not there, not valid, or of another format.
    """
    path, remedy = store / STORE_FILE, "prepare the videos into another folder"
    try:
        content = read_json(path, "a clip store's description", remedy)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{store} is not a clip store (no {STORE_FILE}); make one with `vicc-ray prepare`") from None
    if (version := content.get("format")) != FORMAT:
        raise UserError(
            f"{store} is a clip store of format {str(version)[:20]}, this version reads {FORMAT}; prepare it anew"
        )
    try:
        settings, shards = PrepareConfig.model_validate(content["settings"]), content["shards"]
        if type(shards) is not int or not 1 <= shards <= MOST_SHARDS:
            raise ValueError(f"shards: {str(shards)[:40]} given; 1 to {MOST_SHARDS} are allowed")
    except (ValueError, KeyError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"no {error}"
        raise UserError(f"{path} cannot be read as a clip store's description ({reason}); {remedy}") from None
    return settings, shards


def _is_shard(name: str, shards: int) -> bool:
    number = _SHARD.fullmatch(name)
    return number is not None and int(number[1]) < shards and name == shard_path(Path(), int(number[1])).name
