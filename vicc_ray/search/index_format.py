"""The files of a search index.

index.json          description: format, encoder, window specification, location of the videos
encoder.safetensors encoder; searching needs nothing else
part-N.parquet      one row per video: window features and spans, mean feature, animated thumbnail
videos.arrow        one row per video of all parts, memory-mapped: metadata and the centered, normalized mean feature

From the build (:mod:`vicc_ray.pipelines.prepare.sharded_output`): plan.json, part-N.failures.jsonl, failures.jsonl.
N videos, n windows of a video, F features.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vicc_ray.clip_store.schema import shard_path
from vicc_ray.errors import UserError
from vicc_ray.search.features import VideoFeatures
from vicc_ray.search.index_checks import PART_REMEDY, check_part, open_part
from vicc_ray.search.index_schema import FACTS, MEAN, videos_schema
from vicc_ray.search.video_folder import LONGEST_NAME
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.utils.account_key import is_sealed_here, seal_content
from vicc_ray.utils.arrow_file import damage_as_user_error
from vicc_ray.utils.fs import atomic_path, atomic_write
from vicc_ray.utils.json_file import read_json

FORMAT: Literal["vicc_ray index 3"] = "vicc_ray index 3"
INDEX_FILE, ENCODER_FILE, VIDEOS_FILE = "index.json", "encoder.safetensors", "videos.arrow"
BATCH = 16_384
"""Rows of :data:`VIDEOS_FILE` per record batch."""
MIN_VIDEOS_TO_CENTER = 3
"""Fewest videos for subtracting the mean; with two, centering would make them opposites."""
LARGEST = 2**20
"""Most bytes of ``index.json``."""


class Description(BaseModel):
    """Content of ``index.json``.

    Attributes:
        fingerprint: of the network, see :class:`vicc_ray.models.weights_io.EncoderWeights`.
        videos: folder or address of the videos, without secrets.
        seal: of the account that indexed them (:mod:`vicc_ray.utils.account_key`), on all else; "" where it has no key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["vicc_ray index 3"]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    backbone: Annotated[str, Field(max_length=100)]
    features: Annotated[int, Field(ge=1, le=2**16)]
    spec: WindowSpec
    videos: Annotated[str, Field(max_length=LONGEST_NAME)]
    seal: Annotated[str, Field(max_length=64)] = ""

    def write(self, folder: Path) -> None:
        """Write it with the seal of this account."""
        sealed = self.model_copy(update={"seal": seal_content(self._sealed)})
        atomic_write(folder / INDEX_FILE, sealed.model_dump_json(indent=2) + "\n")

    @property
    def is_own(self) -> bool:
        """Whether this account wrote it, so that the folder of videos is one that it indexed itself."""
        return is_sealed_here(self._sealed, self.seal)

    @property
    def _sealed(self) -> bytes:
        return json.dumps(self.model_dump(exclude={"seal"}), sort_keys=True).encode()

    @staticmethod
    def read(folder: Path) -> Description:
        """That of the index in ``folder``.

        Raises:
            UserError: no index is there, or one of another format.
        """
        path = folder / INDEX_FILE
        try:
            content = read_json(path, "the description of an index", "index the videos anew", LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            what = f"no {INDEX_FILE}" if folder.is_dir() else "nothing there" if not folder.exists() else "a file"
            raise UserError(f"{folder} is no index ({what}); make one with `vicc-ray index`") from None
        if content.get("format") != FORMAT:
            raise UserError(f"{folder} is an index of another format than {FORMAT!r}; index the videos anew")
        try:
            return Description.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{path} is damaged ({error.error_count()} fields are wrong); index anew") from None


def part_row(
    id: str, label: str, source: str, file: bytes, stamp: Sequence[int], found: VideoFeatures
) -> dict[str, Any]:
    """A row of a part (:mod:`vicc_ray.search.index_schema`); ``stamp``: size and time of change of the file."""
    size, mtime_ns = stamp
    return {
        **{"id": id, "file": file, "size": size, "mtime_ns": mtime_ns},
        **{"label": label, "source": source, "seconds": found.seconds},
        **{"start": found.spans[:, 0], "end": found.spans[:, 1], "thumbnail": found.thumbnail},
        **{"windows": found.windows.astype(np.float16).ravel(), "mean": found.mean.astype(np.float16)},
    }


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
    schema = videos_schema(width).with_metadata({MEAN: mean.tobytes()})
    with atomic_path(folder / VIDEOS_FILE) as aside, pa.ipc.new_file(aside, schema) as writer:
        for table in _batches(folder, without, width):
            units = unit_norm(flatten_numbers(table.column("mean")).reshape(-1, width) - mean)
            values = pa.FixedSizeListArray.from_arrays(pa.array(units.ravel()), width)
            batch = table.drop_columns("mean").append_column("unit", values).cast(schema)
            writer.write_batch(batch.combine_chunks().to_batches()[0])
    return rows


def flatten_numbers(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """All numbers in a column of lists, one after the other; NaN where there is none."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float32)


def unit_norm(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features [..., F] at unit norm; zeros stay zeros."""
    with np.errstate(over="ignore"):  # of features beyond all others, zeros are made
        norm = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.where(norm > 0, norm, 1), np.float32)


def _mean(folder: Path, without: Sequence[Collection[str]], width: int) -> tuple[int, NDArray[np.float32]]:
    """Number of rows, and what is subtracted from every feature."""
    rows, total = 0, np.zeros(width)
    for table in _batches(folder, without, width):
        total += flatten_numbers(table.column("mean")).reshape(-1, width).sum(0, dtype=np.float64)
        rows += len(table)
    return rows, (total / rows if rows >= MIN_VIDEOS_TO_CENTER else np.zeros(width)).astype(np.float32)


def _batches(folder: Path, without: Sequence[Collection[str]], width: int) -> Iterator[pa.Table]:
    """The rows of all parts with their places, :data:`BATCH` at a time; of each part, without some ids."""
    held: list[pa.Table] = []
    for part, ids in enumerate(without):
        table = _read_part(folder, part, width)
        held.append(table.filter(pc.invert(pc.is_in(table.column("id"), pa.array(ids, pa.string())))) if ids else table)
        while sum(map(len, held)) >= BATCH:
            table = pa.concat_tables(held)
            yield table.slice(0, BATCH)
            held = [table.slice(BATCH)]
    if sum(map(len, held)):
        yield pa.concat_tables(held)


def _read_part(folder: Path, part: int, width: int) -> pa.Table:
    path = shard_path(folder, part)
    with open_part(path) as file, damage_as_user_error(path, PART_REMEDY):
        table = file.read(columns=[*FACTS, "mean"])
        check_part(table, width)
    places = {"part": np.full(len(table), part, np.int32), "row": np.arange(len(table), dtype=np.int32)}
    for name, values in places.items():
        table = table.append_column(name, pa.array(values))
    return table
