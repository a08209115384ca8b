"""The clip store: one row a video, in Parquet shards beside ``store.json``.

Each frame is a JPEG of its own, and each row a row group of its own: any video, and any frame of it, is read without
its neighbours. Shapes: T frames, H height, W width, n frames asked for.
"""

from __future__ import annotations

import json
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
from pydantic import ValidationError

from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.files import atomic_path, atomic_write
from vicc_ray.video.decode import Video

FORMAT = 1
"""Version of the layout; a store of another one is refused."""
STORE_FILE = "store.json"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # path below the videos folder
        ("label", pa.string()),  # class, "" where unknown
        ("source", pa.string()),  # the original recording: videos of one source are never split
        ("split", pa.string()),  # "train", "test" or "" (in neither)
        ("fps", pa.float64()),
        ("frames", pa.int32()),  # T
        ("height", pa.int32()),  # H
        ("width", pa.int32()),  # W
        ("rgb", pa.list_(pa.binary())),  # T JPEGs [H, W, 3]
        ("flow", pa.list_(pa.binary())),  # T grey JPEGs [H, 2 W]: quantised u, and v to its right
    ]
)
BLOBS = ("rgb", "flow")
OPEN_SHARDS = 32
"""Shards that one reader keeps open."""


def shard_path(store: Path, shard: int) -> Path:
    """Path of shard number ``shard``."""
    return store / f"part-{shard:05d}.parquet"


def encode_video(
    id: str, label: str, source: str, split: str, video: Video, flow_q: NDArray[np.uint8], quality: int
) -> dict[str, Any]:
    """A row of the store.

    Args:
        video: frames uint8 [T, H, W, 3] and their rate.
        flow_q: quantised flow, uint8 [T, H, W, 2].
        quality: JPEG quality of both, 50 to 100.

    Raises:
        ValueError: frames and flow differ in T, H or W.
    """
    if video.frames.shape[:3] != flow_q.shape[:3]:
        raise ValueError(f"frames are {video.frames.shape[:3]} but their flow is {flow_q.shape[:3]}")
    frames, height, width = video.frames.shape[:3]
    return {
        "id": id,
        "label": label,
        "source": source,
        "split": split,
        "fps": video.fps,
        "frames": frames,
        "height": height,
        "width": width,
        "rgb": [_jpeg(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality) for frame in video.frames],
        "flow": [_jpeg(np.hstack([flow[..., 0], flow[..., 1]]), quality) for flow in flow_q],
    }


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


class ShardWriter:
    """Writes the rows of one shard as they come; nothing but the current row is held."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self.rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Append a row of :func:`encode_video`."""
        self._writer.write_table(pa.Table.from_pylist([row], schema=SCHEMA))
        self.rows += 1


@contextmanager
def shard_writer(path: Path) -> Iterator[ShardWriter]:
    """A :class:`ShardWriter` whose file appears at ``path``, whole, when the block ends without an error."""
    with (
        atomic_path(path) as aside,
        pq.ParquetWriter(aside, SCHEMA, compression="none", use_dictionary=False) as writer,
    ):
        yield ShardWriter(writer)


@dataclass(frozen=True)
class Entry:
    """What is known of a stored video without reading it, and where it lies."""

    id: str
    label: str
    source: str
    split: str
    frames: int
    fps: float
    height: int
    width: int
    shard: int
    row: int


@dataclass(frozen=True)
class StoredVideo:
    """The compressed frames of one video; only those asked for are decompressed.

    Raises:
        UserError: from ``rgb`` and ``flow``: a frame is damaged.
    """

    entry: Entry
    _rgb: list[bytes] = field(repr=False)
    _flow: list[bytes] = field(repr=False)

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.entry.frames

    def rgb(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Frames uint8 [n, H, W, 3]; ``indices`` int [n] in 0..T-1, in any order, repeated or not."""
        out = np.empty((len(np.asarray(indices)), self.entry.height, self.entry.width, 3), np.uint8)
        for n, index in enumerate(np.asarray(indices)):
            cv2.cvtColor(self._pixels(self._rgb[index], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB, dst=out[n])
        return out

    def flow(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Quantised flow uint8 [n, H, W, 2] (see :func:`vicc_ray.video.flow.dequantise`) of frames ``indices``."""
        out = np.empty((len(np.asarray(indices)), self.entry.height, self.entry.width, 2), np.uint8)
        for n, index in enumerate(np.asarray(indices)):
            both = self._pixels(self._flow[index], cv2.IMREAD_GRAYSCALE)
            out[n, ..., 0], out[n, ..., 1] = both[:, : self.entry.width], both[:, self.entry.width :]
        return out

    def _pixels(self, data: bytes, mode: int) -> NDArray[np.uint8]:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
        if image is None:
            raise _damaged(shard_path(Path(), self.entry.shard), f"a frame of {self.entry.id} is no JPEG")
        return np.asarray(image, np.uint8)


def _damaged(shard: Path, what: str) -> UserError:
    return UserError(
        f"{shard} of the clip store is damaged ({what}); remove that file and run `vicc-ray prepare` again, "
        "it makes only what is missing"
    )


class ClipStore:
    """A finished clip store, for reading; can be pickled and used from several threads.

    Raises:
        UserError: ``path`` is no clip store, one of another format, or not finished.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        content = read_store_file(self.path)
        self.settings = PrepareConfig.model_validate(content["settings"])
        self.shards: int = content["shards"]
        missing = sum(not shard_path(self.path, shard).exists() for shard in range(self.shards))
        if missing:
            raise UserError(
                f"the clip store {self.path} is not finished: {missing} of {self.shards} shards are missing; "
                "run `vicc-ray prepare` again, it makes only those"
            )
        self._entries: list[Entry] | None = None
        self._forget_files()

    @property
    def entries(self) -> list[Entry]:
        """All stored videos, sorted by id; read once, without their frames."""
        if self._entries is None:
            found = (entry for shard in range(self.shards) for entry in self._shard_entries(shard))
            self._entries = sorted(found, key=lambda entry: entry.id)
        return self._entries

    def read(self, entry: Entry, columns: Sequence[str] = BLOBS) -> StoredVideo:
        """The compressed frames of a video; ``columns`` may leave out "rgb" or "flow" where it is not needed."""
        try:
            with self._lock:
                table = self._file(entry.shard).read_row_group(entry.row, columns=list(columns))
        except (OSError, pa.ArrowException) as error:
            raise _damaged(shard_path(self.path, entry.shard), f"{entry.id} cannot be read: {error}") from None
        blobs = {name: table.column(name)[0].as_py() for name in columns}
        return StoredVideo(entry, blobs.get("rgb", []), blobs.get("flow", []))

    def _shard_entries(self, shard: int) -> list[Entry]:
        names = [name for name in SCHEMA.names if name not in BLOBS]
        try:
            with pq.ParquetFile(shard_path(self.path, shard)) as file:
                rows = file.read(columns=names).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise _damaged(shard_path(self.path, shard), str(error)) from None
        return [Entry(**values, shard=shard, row=row) for row, values in enumerate(rows)]

    def _file(self, shard: int) -> pq.ParquetFile:
        if shard not in self._files:
            self._files[shard] = pq.ParquetFile(shard_path(self.path, shard))
        self._files.move_to_end(shard)
        if len(self._files) > OPEN_SHARDS:
            self._files.popitem(last=False)[1].close()
        return self._files[shard]

    def _forget_files(self) -> None:
        self._lock = Lock()
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_files()


def write_store_file(store: Path, settings: PrepareConfig, shards: int) -> None:
    """Write ``store.json``: the format's version, the settings, the number of shards that make the store whole."""
    content = {"format": FORMAT, "settings": settings.model_dump(), "shards": shards}
    atomic_write(store / STORE_FILE, json.dumps(content, indent=2) + "\n")


def read_store_file(store: Path) -> dict[str, Any]:
    """Content of ``store.json``.

    Raises:
        UserError: it is not there, not valid, or of another format.
    """
    path = store / STORE_FILE
    try:
        content = json.loads(path.read_text())
        version = content["format"]
        if version == FORMAT:
            PrepareConfig.model_validate(content["settings"])
            int(content["shards"])
    except FileNotFoundError:
        raise UserError(f"{store} is not a clip store (no {STORE_FILE}); make one with `vicc-ray prepare`") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path} cannot be read as a clip store's description ({type(error).__name__})") from None
    if version != FORMAT:
        raise UserError(f"{store} is a clip store of format {version}, this version reads {FORMAT}; prepare it anew")
    return dict(content)
