"""Validating reader of ``videos.arrow``. N videos, F features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from vicc_ray.errors import UserError
from vicc_ray.search.index_checks import check_between, check_facts
from vicc_ray.search.index_format import VIDEOS_FILE
from vicc_ray.search.index_schema import MEAN, videos_schema
from vicc_ray.utils.arrow_file import damage_as_user_error, read_arrow

REMEDY = "remove it and run the same `vicc-ray index` again to rebuild it"
MOST_PARTS = 10**6


def read_videos(folder: Path, width: int) -> tuple[pa.Table, np.ndarray]:
    """Memory-mapped table of all videos, and the mean feature float32 [F].

    Raises:
        UserError: the file is missing or damaged, or does not match F features.
    """
    path = folder / VIDEOS_FILE
    try:
        table = read_arrow(path, videos_schema(width), REMEDY)
    except FileNotFoundError:
        raise UserError(
            f"the index {folder} is not finished (no {VIDEOS_FILE}); run the same `vicc-ray index` again"
        ) from None
    with damage_as_user_error(path, REMEDY):
        check_facts(table)
        check_between(table, "part", 0, MOST_PARTS)
        check_between(table, "row", 0, 2**31 - 1)
        mean = np.frombuffer((table.schema.metadata or {})[MEAN], np.float32)
        if mean.shape != (width,) or not np.isfinite(mean).all():
            raise ValueError(
                f"a mean of {len(mean)} features, {np.isfinite(mean).sum()} of them finite; {width} expected"
            )
    return table, mean
