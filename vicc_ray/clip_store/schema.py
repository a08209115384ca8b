"""Layout of a clip store on disk: columns and names of its Parquet shards, and ``store.json`` beside them."""

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
METADATA_SCHEMA = pa.schema([field for field in SCHEMA if field.name not in BLOBS])
"""What is known of a video beside its frames."""
MAX_SHARDS = 10**6
REMEDY = "remove that file and run `vicc-ray prepare` again, it makes only what is missing"
_SHARD = re.compile(r"part-(\d{5,9})\.parquet")


@dataclass(frozen=True)
class VideoMetadata:
    """What is told of a video beside its frames; the fields are columns of :data:`SCHEMA`."""

    id: str
    label: str = ""
    source: str = ""
    split: str = ""
    content: str = ""


def shard_path(store: Path, shard: int) -> Path:
    """Path of shard number ``shard``."""
    return store / f"part-{shard:05d}.parquet"


def is_shard(name: str, shards: int) -> bool:
    number = _SHARD.fullmatch(name)
    return number is not None and int(number[1]) < shards and name == shard_path(Path(), int(number[1])).name


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
        if type(shards) is not int or not 1 <= shards <= MAX_SHARDS:
            raise ValueError(f"shards: {str(shards)[:40]} given; 1 to {MAX_SHARDS} are allowed")
    except (ValueError, KeyError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"no {error}"
        raise UserError(f"{path} cannot be read as a clip store's description ({reason}); {remedy}") from None
    return settings, shards
