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

FORMAT: Literal["vicc_ray index 4"] = "vicc_ray index 4"
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
        seal: signature of all other fields by the indexing account (:mod:`vicc_ray.utils.account_key`); "" if that
            account has no key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["vicc_ray index 4"]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    backbone: Annotated[str, Field(max_length=100)]
    features: Annotated[int, Field(ge=1, le=2**16)]
    spec: WindowSpec
    videos: Annotated[str, Field(max_length=LONGEST_NAME)]
    seal: Annotated[str, Field(max_length=64)] = ""

    def write(self, folder: Path) -> None:
        """Write ``index.json``, sealed by this account."""
        sealed = self.model_copy(update={"seal": seal_content(self._sealed)})
        atomic_write(folder / INDEX_FILE, sealed.model_dump_json(indent=2) + "\n")

    @property
    def is_own(self) -> bool:
        """Whether this account wrote the description, so that it has indexed the video folder itself."""
        return is_sealed_here(self._sealed, self.seal)

    @property
    def _sealed(self) -> bytes:
        return json.dumps(self.model_dump(exclude={"seal"}), sort_keys=True).encode()

    @staticmethod
    def read(folder: Path) -> Description:
        """Description of the index in ``folder``.

        Raises:
            UserError: there is no index, or it has another format.
        """
        path = folder / INDEX_FILE
        try:
            content = read_json(path, "the description of an index", "index the videos again", LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            what = (
                f"no {INDEX_FILE}"
                if folder.is_dir()
                else "it does not exist"
                if not folder.exists()
                else "it is a file"
            )
            raise UserError(f"{folder} is not a search index ({what}); create one with `vicc-ray index`") from None
        if content.get("format") != FORMAT:
            raise UserError(f"{folder} has another index format than {FORMAT!r}; index the videos again")
        try:
            return Description.model_validate(content)
        except ValidationError as error:
            raise UserError(
                f"{path} is damaged ({error.error_count()} invalid fields); index the videos again"
            ) from None


def part_row(
    id: str, label: str, source: str, file: bytes, stamp: Sequence[int], features: VideoFeatures
) -> dict[str, Any]:
    """Row of a part (:mod:`vicc_ray.search.index_schema`); ``stamp``: size and mtime of the file."""
    size, mtime_ns = stamp
    return {
        **{"id": id, "file": file, "size": size, "mtime_ns": mtime_ns},
        **{"label": label, "source": source, "seconds": features.seconds},
        **{"start": features.spans[:, 0], "end": features.spans[:, 1], "thumbnail": features.thumbnail},
        **{"windows": features.windows.astype(np.float16).ravel(), "mean": features.mean.astype(np.float16)},
    }


def write_videos(
    folder: Path, parts: int, width: int, superseded: Mapping[int, Collection[str]] = MappingProxyType({})
) -> int:
    """Write ``videos.arrow`` from all parts; one batch is in memory at a time.

    Rows keep their numbers when parts are added, unless a new part supersedes a row.

    Args:
        width: F.
        superseded: by part, the ids of rows to leave out because a later part replaces them.

    Returns:
        Number of videos.

    Raises:
        UserError: a part is damaged.
    """
    without = [superseded.get(part, ()) for part in range(parts)]
    rows, mean = _mean(folder, without, width)
    schema = videos_schema(width).with_metadata({MEAN: mean.tobytes()})
    with atomic_path(folder / VIDEOS_FILE) as tmp, pa.ipc.new_file(tmp, schema) as writer:
        for table in _batches(folder, without, width):
            units = unit_norm(flatten_numbers(table.column("mean")).reshape(-1, width) - mean)
            values = pa.FixedSizeListArray.from_arrays(pa.array(units.ravel()), width)
            batch = table.drop_columns("mean").append_column("unit", values).cast(schema)
            writer.write_batch(batch.combine_chunks().to_batches()[0])
    return rows


def flatten_numbers(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """All numbers of a column of lists as one array; a null becomes NaN."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float32)


def unit_norm(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features [..., F] at unit norm; zeros stay zeros."""
    with np.errstate(over="ignore"):  # a norm that overflows to infinity yields zeros
        norm = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.where(norm > 0, norm, 1), np.float32)


def _mean(folder: Path, without: Sequence[Collection[str]], width: int) -> tuple[int, NDArray[np.float32]]:
    """Number of rows, and the mean feature to subtract: zeros for fewer than :data:`MIN_VIDEOS_TO_CENTER`."""
    rows, total = 0, np.zeros(width)
    for table in _batches(folder, without, width):
        total += flatten_numbers(table.column("mean")).reshape(-1, width).sum(0, dtype=np.float64)
        rows += len(table)
    return rows, (total / rows if rows >= MIN_VIDEOS_TO_CENTER else np.zeros(width)).astype(np.float32)


def _batches(folder: Path, without: Sequence[Collection[str]], width: int) -> Iterator[pa.Table]:
    """Batches of :data:`BATCH` rows of all parts, with part and row numbers; ``without``: ids to leave out, by part."""
    pending: list[pa.Table] = []
    for part, ids in enumerate(without):
        table = _read_part(folder, part, width)
        pending.append(
            table.filter(pc.invert(pc.is_in(table.column("id"), pa.array(ids, pa.string())))) if ids else table
        )
        while sum(map(len, pending)) >= BATCH:
            table = pa.concat_tables(pending)
            yield table.slice(0, BATCH)
            pending = [table.slice(BATCH)]
    if sum(map(len, pending)):
        yield pa.concat_tables(pending)


def _read_part(folder: Path, part: int, width: int) -> pa.Table:
    path = shard_path(folder, part)
    with open_part(path) as file, damage_as_user_error(path, PART_REMEDY):
        table = file.read(columns=[*FACTS, "mean"])
        check_part(table, width)
    places = {"part": np.full(len(table), part, np.int32), "row": np.arange(len(table), dtype=np.int32)}
    for name, values in places.items():
        table = table.append_column(name, pa.array(values))
    return table
