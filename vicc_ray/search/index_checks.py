"""Validation of index tables; a violation raises ValueError. n windows, F features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicc_ray.search.index_schema import PART_SCHEMA
from vicc_ray.search.video_folder import LONGEST_NAME
from vicc_ray.utils.arrow_file import damage_as_user_error, open_parquet

PART_REMEDY = "remove that file and run the same `vicc-ray index` again; only missing parts are rebuilt"
LARGEST_ROW = 2**31
"""Most bytes of memory for a video's row; an hour of video takes 1 MB with the default windows."""
LARGEST_READ = 2**29
"""Most bytes of a row's columns after reading, whatever size the file declared."""
MAX_TEXT_BYTES = 4096
"""Most bytes of an id, a label or a source."""
LONGEST_VIDEO_S = 1e9


def open_part(path: Path) -> pq.ParquetFile:
    """Opened part with one row group per video.

    Raises:
        UserError: the part is missing or damaged.
    """
    try:
        file = open_parquet(path, PART_SCHEMA, PART_REMEDY, LARGEST_ROW)
    except FileNotFoundError:
        with damage_as_user_error(path, PART_REMEDY):
            raise ValueError("it is missing") from None
    with damage_as_user_error(path, PART_REMEDY):
        if file.num_row_groups != file.metadata.num_rows:
            raise ValueError(f"{file.metadata.num_rows} rows in {file.num_row_groups} row groups")
        memory = sum(file.metadata.row_group(row).total_byte_size for row in range(file.num_row_groups))
        if memory > path.stat().st_size:
            raise ValueError(f"{memory:,} bytes of data in a smaller file, though parts are not compressed")
    return file


def check_part(table: pa.Table, width: int) -> None:
    """Check the metadata and the mean features of a part; F is ``width``."""
    table.validate(full=True)
    check_facts(table)
    means = table.column("mean").combine_chunks()
    lengths = pc.list_value_length(means)
    if len(table) and not pc.all(pc.equal(lengths, width)).as_py():
        raise ValueError(f"mean features that are not {width} numbers long")
    _check_finite(means.flatten(), "mean features")


def check_windows(spans: NDArray[np.float32], features: NDArray[np.float32]) -> None:
    """Check that spans [n, 2] and features [n, F] are valid and match in number."""
    if not len(spans) == len(features) > 0:
        raise ValueError(f"{len(spans)} spans, but features of {len(features)} windows")
    if not (np.isfinite(spans).all() and (spans[:, 0] >= 0).all() and (spans[:, 0] <= spans[:, 1]).all()):
        raise ValueError("windows with invalid start or end times")
    if not np.isfinite(features).all():
        raise ValueError("window features that are not finite")


def check_facts(table: pa.Table) -> None:
    """Check the metadata columns of videos."""
    without = [name for name in table.column_names if table.column(name).null_count]
    if without:
        raise ValueError(f"rows without {without[0]}")
    for name in ("id", "label", "source", "file"):
        longest = pc.max(pc.binary_length(table.column(name))).as_py() or 0
        if longest > (LONGEST_NAME if name == "file" else MAX_TEXT_BYTES):
            raise ValueError(f"{name} of {longest:,} bytes")
    names = table.column("file")
    for wrong in (pc.starts_with(names, b"/"), pc.match_substring_regex(names, rb"(^|/)\.\.(/|$)|\x00")):
        if pc.any(wrong).as_py():
            raise ValueError("a file outside the video folder")
    check_between(table, "seconds", 0, LONGEST_VIDEO_S)


def check_between(table: pa.Table, name: str, least: float, most: float) -> None:
    """Check that all numbers of a column are in the range."""
    values = table.column(name)
    if len(values) and not pc.all(pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))).as_py():
        raise ValueError(f"{name} outside {least:g} to {most:g}")


def _check_finite(values: pa.Array, what: str) -> None:
    if values.null_count or not np.isfinite(values.to_numpy(zero_copy_only=False)).all():
        raise ValueError(f"{what} that are not finite")
