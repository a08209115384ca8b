"""Entries are what the rows are, in any order asked for, and cost little memory in many processes."""

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


def test_entries_are_a_sequence_of_what_they_were_made_of() -> None:
    count = 2 * ROWS_PER_BATCH + 3
    objects, found = [entry(n) for n in range(count)], entries(count)
    assert list(found) == objects
    assert (len(found), found[0], found[-1], found[np.int64(5)]) == (count, objects[0], objects[-1], objects[5])
    assert list(found[3::50]) == objects[3::50]
    assert found.column("frames") == [e.frames for e in objects]
    assert found == entries(count)
    assert found != entries(count - 1)
    with pytest.raises(IndexError):
        _ = found[count]


def test_some_are_chosen_in_their_order() -> None:
    found = entries(10)
    assert [e.frames for e in found.where([n in (2, 7) for n in range(10)])] == [22, 27]
    assert len(found.where([False] * 10)) == 0


def test_what_is_pickled_lies_in_buffers_that_processes_can_share() -> None:
    """Ray maps such buffers into every process of a machine instead of copying them."""
    sizes = {}
    for count in (100, 10_000):
        buffers: list[pickle.PickleBuffer] = []
        text = pickle.dumps(entries(count), protocol=5, buffer_callback=buffers.append)
        assert pickle.loads(text, buffers=buffers) == entries(count)
        sizes[count] = len(text), sum(buffer.raw().nbytes for buffer in buffers) / count
    assert sizes[10_000][0] < sizes[100][0] + 200
    assert sizes[10_000][1] < 210
