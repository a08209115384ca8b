"""Layout of a clip store: columns and file names of its Parquet shards, and its description ``store.json``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_json

FORMAT = 2
"""Version of the layout; a store of another version is refused."""
STORE_FILE = "store.json"
INDEX_FILE = "index.parquet"
"""Catalog in one file, so that opening a store does not read its shards. It exists only while the store is complete."""
FAILURES_FILE = "failures.jsonl"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # path relative to the videos folder
        ("label", pa.string()),  # class, "" if unknown
        ("source", pa.string()),  # original recording; all its videos are in one split
        ("split", pa.string()),  # "train", "test" or "" (neither)
        ("content", pa.string()),  # BLAKE2b-128 of the file in hexadecimal, which identifies duplicates
        ("fps", pa.float64()),
        ("frames", pa.int32()),  # T
        ("height", pa.int32()),  # H
        ("width", pa.int32()),  # W
        ("rgb", pa.list_(pa.binary())),  # T H.264 packets
        ("flow", pa.list_(pa.binary())),  # one JPEG per GOP: quantized u and, to its right, v, each [H / s, W / s]
    ]
)
BLOBS = ("rgb", "flow")
METADATA_SCHEMA = pa.schema([field for field in SCHEMA if field.name not in BLOBS])
"""Columns other than the frames."""
MAX_SHARDS = 10**6
REMEDY = "remove that file and run `vicc-ray prepare` again; it writes only what is missing"
_SHARD = re.compile(r"part-(\d{5,9})\.parquet")


@dataclass(frozen=True)
class VideoMetadata:
    """Metadata of a video that is known before decoding; the fields are columns of :data:`SCHEMA`."""

    id: str
    label: str = ""
    source: str = ""
    split: str = ""
    content: str = ""


def shard_path(store: Path, shard: int) -> Path:
    """Path of shard number ``shard``."""
    return store / f"part-{shard:05d}.parquet"


def is_shard(name: str, shards: int) -> bool:
    """Whether ``name`` is the file name of one of the first ``shards`` shards."""
    number = _SHARD.fullmatch(name)
    return number is not None and int(number[1]) < shards and name == shard_path(Path(), int(number[1])).name


def write_store_file(store: Path, settings: PrepareConfig, shards: int) -> None:
    """Write ``store.json``: format version, settings, and number of shards of the complete store."""
    content = {"format": FORMAT, "settings": settings.model_dump(), "shards": shards}
    atomic_write(store / STORE_FILE, json.dumps(content, indent=2) + "\n")


def read_store_file(store: Path) -> tuple[PrepareConfig, int]:
    """Read ``store.json``: settings, and number of shards of the complete store.

    Raises:
        UserError: the file is missing, invalid, or of another format version.
    """
    path, remedy = store / STORE_FILE, "prepare the videos into another folder"
    try:
        content = read_json(path, "a clip store's description", remedy)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{store} is not a clip store (no {STORE_FILE}); create one with `vicc-ray prepare`") from None
    if (version := content.get("format")) != FORMAT:
        raise UserError(
            f"{store} is a clip store of format {str(version)[:20]}, this version reads {FORMAT}; prepare it again"
        )
    try:
        settings, shards = PrepareConfig.model_validate(content["settings"]), content["shards"]
        if type(shards) is not int or not 1 <= shards <= MAX_SHARDS:
            raise ValueError(f"shards: {str(shards)[:40]} given; allowed: 1 to {MAX_SHARDS}")
    except (ValueError, KeyError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"no {error}"
        raise UserError(f"{path} is not a valid description of a clip store ({reason}); {remedy}") from None
    return settings, shards
