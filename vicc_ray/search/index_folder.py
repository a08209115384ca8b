"""The files of a search index.

index.json          what the index is: format, network, what is looked at of a video, where the videos are
encoder.safetensors the network: searching needs nothing else
part-N.parquet      a row a video: features of its windows and their spans, its mean feature, a moving thumbnail
videos.arrow        a row a video of all parts, to be mapped into memory: what is known of it, and its mean feature
                    ready to be compared

and of the making: plan.json, part-N.failures.jsonl, failures.jsonl (see :mod:`vicc_ray.pipelines.parts_folder`).
N videos, n windows of a video, F features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from vicc_ray.errors import UserError
from vicc_ray.files import atomic_path, atomic_write, unreadable
from vicc_ray.search.features import VideoFeatures
from vicc_ray.search.view import View
from vicc_ray.video.store import shard_path

FORMAT = "vicc_ray index 1"
INDEX_FILE, ENCODER_FILE, VIDEOS_FILE = "index.json", "encoder.safetensors", "videos.arrow"
PART_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # path below the videos folder, or a data set's published path
        ("file", pa.binary()),  # the path below the videos folder where it was found
        ("label", pa.string()),  # "" where unknown
        ("source", pa.string()),
        ("seconds", pa.float64()),
        ("start", pa.list_(pa.float32())),  # of each window, in seconds
        ("end", pa.list_(pa.float32())),
        ("windows", pa.list_(pa.float16())),  # n x F, one after the other
        ("mean", pa.list_(pa.float16())),  # F
        ("film", pa.binary()),  # H.264 in MP4
    ]
)
FACTS = ("id", "file", "label", "source", "seconds")
"""Columns of a part that are in :data:`VIDEOS_FILE` too."""
BATCH = 16_384
"""Rows of :data:`VIDEOS_FILE` that are written, and later compared, at once."""
TELLING = 3
"""Videos from which on their mean is subtracted: of two, it would make each the opposite of the other."""
MEAN = b"mean"
"""Metadata of :data:`VIDEOS_FILE`: float32 [F], subtracted from every feature before it is compared."""


class Description(BaseModel):
    """Content of ``index.json``.

    Attributes:
        fingerprint: of the network, see :class:`vicc_ray.models.weights_file.EncoderWeights`.
        videos: folder or address of the videos, without secrets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    fingerprint: str
    backbone: str
    features: int
    view: View
    videos: str

    def write(self, folder: Path) -> None:
        """Write it."""
        atomic_write(folder / INDEX_FILE, self.model_dump_json(indent=2) + "\n")

    @staticmethod
    def read(folder: Path) -> Description:
        """That of the index in ``folder``.

        Raises:
            UserError: no index is there, or one of another format.
        """
        path = folder / INDEX_FILE
        try:
            text = path.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            what = f"no {INDEX_FILE}" if folder.is_dir() else "nothing there" if not folder.exists() else "a file"
            raise UserError(f"{folder} is no index ({what}); make one with `vicc-ray index`") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None
        try:
            return Description.model_validate_json(text)
        except ValidationError as error:
            if f'"{FORMAT}"' in text:
                raise UserError(f"{path} is damaged ({error.error_count()} fields are wrong); index anew") from None
            raise UserError(f"{folder} is an index of another format than {FORMAT!r}; index the videos anew") from None


def part_row(id: str, label: str, source: str, file: bytes, found: VideoFeatures) -> dict[str, Any]:
    """A row of :data:`PART_SCHEMA`."""
    return {
        **{"id": id, "file": file, "label": label, "source": source, "seconds": found.seconds},
        **{"start": found.spans[:, 0], "end": found.spans[:, 1], "film": found.film},
        **{"windows": found.windows.astype(np.float16).ravel(), "mean": found.mean.astype(np.float16)},
    }


def damaged_part(path: Path, error: object) -> UserError:
    """What to say of a part that cannot be read."""
    return unreadable(path) or UserError(
        f"{path} is damaged ({' '.join(str(error).split())}); remove that file and give the same `vicc-ray index` "
        "again: it makes only what is missing"
    )


def write_videos(
    folder: Path, parts: int, width: int, superseded: Mapping[int, Collection[str]] = MappingProxyType({})
) -> int:
    """Write ``videos.arrow`` from all parts; a batch is held at a time.

    Rows keep their numbers when parts are added, unless one of these supersedes a row.

    Args:
        width: F.
        superseded: of a part, the ids of the rows that do not count any more; they stay in the part.

    Returns:
        the number of videos.

    Raises:
        UserError: a part is damaged.
    """
    without = [superseded.get(part, ()) for part in range(parts)]
    rows, mean = _mean(folder, without, width)
    schema = pa.schema(
        [
            *(PART_SCHEMA.field(name) for name in FACTS),
            ("part", pa.int32()),
            ("row", pa.int32()),
            ("unit", pa.list_(pa.float32(), width)),  # to make float32 of float16 took ten times as long as to compare
        ],
        metadata={MEAN: mean.tobytes()},
    )
    with atomic_path(folder / VIDEOS_FILE) as aside, pa.ipc.new_file(aside, schema) as writer:
        for table in _batches(folder, without):
            units = unit(features_of(table.column("mean"), width) - mean)
            values = pa.FixedSizeListArray.from_arrays(pa.array(units.ravel()), width)
            batch = table.drop_columns("mean").append_column("unit", values).cast(schema)
            writer.write_batch(batch.combine_chunks().to_batches()[0])
    return rows


def features_of(column: pa.ChunkedArray, width: int) -> NDArray[np.float32]:
    """A column of lists of float16 as float32 [rows, width]."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width)


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features [..., F] at unit norm; zeros stay zeros."""
    norm = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.where(norm > 0, norm, 1), np.float32)


def _mean(folder: Path, without: Sequence[Collection[str]], width: int) -> tuple[int, NDArray[np.float32]]:
    """Number of rows, and what is subtracted from every feature."""
    rows, total = 0, np.zeros(width)
    for table in _batches(folder, without):
        total += features_of(table.column("mean"), width).sum(0, dtype=np.float64)
        rows += len(table)
    return rows, (total / rows if rows >= TELLING else np.zeros(width)).astype(np.float32)


def _batches(folder: Path, without: Sequence[Collection[str]]) -> Iterator[pa.Table]:
    """The rows of all parts with their places, :data:`BATCH` at a time; of each part, without some ids."""
    held: list[pa.Table] = []
    for part, ids in enumerate(without):
        table = _read_part(folder, part)
        held.append(table.filter(pc.invert(pc.is_in(table.column("id"), pa.array(ids, pa.string())))) if ids else table)
        while sum(map(len, held)) >= BATCH:
            table = pa.concat_tables(held)
            yield table.slice(0, BATCH)
            held = [table.slice(BATCH)]
    if sum(map(len, held)):
        yield pa.concat_tables(held)


def _read_part(folder: Path, part: int) -> pa.Table:
    path = shard_path(folder, part)
    try:
        table = pq.read_table(path, columns=[*FACTS, "mean"], page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise damaged_part(path, error) from None
    places = {"part": np.full(len(table), part, np.int32), "row": np.arange(len(table), dtype=np.int32)}
    for name, values in places.items():
        table = table.append_column(name, pa.array(values))
    return table
