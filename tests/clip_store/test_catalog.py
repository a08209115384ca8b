"""Catalog of a clip store: a sequence of records, which takes little memory and is shared by processes."""

from __future__ import annotations

import pickle
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest

from vicc_ray.clip_store.catalog import ROWS_PER_BATCH, Catalog, VideoRecord

SPLITS = ("train", "test", "")


def entry(n: int) -> VideoRecord:
    id = f"class {n % 7}/video {n:07d}.mp4"
    return VideoRecord(id, id[:7], id, SPLITS[n % 3], f"{n:032x}", 20 + n, 25.0, 32, 40, n // 64, n % 64)


def entries(count: int) -> Catalog:
    return Catalog(pa.Table.from_pylist([asdict(entry(n)) for n in range(count)]))


def test_a_catalog_is_the_sequence_of_its_records() -> None:
    count = 2 * ROWS_PER_BATCH + 3
    records, catalog = [entry(n) for n in range(count)], entries(count)
    assert list(catalog) == records
    assert (len(catalog), catalog[0], catalog[-1], catalog[np.int64(5)]) == (
        count,
        records[0],
        records[-1],
        records[5],
    )
    assert list(catalog[3::50]) == records[3::50]
    assert catalog.column("frames") == [e.frames for e in records]
    assert catalog == entries(count)
    assert catalog != entries(count - 1)
    with pytest.raises(IndexError):
        _ = catalog[count]


def test_where_keeps_the_order() -> None:
    catalog = entries(10)
    assert [e.frames for e in catalog.where([n in (2, 7) for n in range(10)])] == [22, 27]
    assert len(catalog.where([False] * 10)) == 0


def test_a_pickled_catalog_is_in_out_of_band_buffers() -> None:
    """Ray maps such buffers into every process of a node instead of copying them."""
    sizes = {}
    for count in (100, 10_000):
        buffers: list[pickle.PickleBuffer] = []
        text = pickle.dumps(entries(count), protocol=5, buffer_callback=buffers.append)
        assert pickle.loads(text, buffers=buffers) == entries(count)
        sizes[count] = len(text), sum(buffer.raw().nbytes for buffer in buffers) / count
    assert sizes[10_000][0] < sizes[100][0] + 200
    assert sizes[10_000][1] < 210
