"""Clip stores from untrusted sources: damage is reported with its file, before it costs memory or crashes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.clip_store.test_store import make_store
from tests.stored import store_of, video
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import INDEX_FILE, SCHEMA, STORE_FILE, shard_path
from vicc_ray.clip_store.writer import open_shard_writer, write_index
from vicc_ray.errors import UserError
from vicc_ray.sharding.plan import PLAN_FILE, ShardPlan, failures_path, read_failures, stored_rows
from vicc_ray.sharding.source_check import _contents
from vicc_ray.video.synthetic.existing_videos import RECORD, check_existing_videos

Rows = list[dict[str, Any]]
IDS = ["../../etc/passwd", "/etc/passwd", "a/../../b", "a\0b", "..", "a" * 5000]
NUMBERS = [
    {"frames": 0}, {"frames": -1}, {"frames": 2**31 - 1}, {"height": 2**31 - 2}, {"height": 33}, {"width": -2},
    {"fps": float("nan")}, {"fps": -1.0},
]  # fmt: skip


@pytest.mark.parametrize(
    "shards", [10**12, 10**7, 0, -1, "2", 1.0, None, [1], {"a": 1}, True, 10**400], ids=lambda shards: str(shards)[:20]
)
def test_an_invalid_number_of_shards_is_refused(tmp_path: Path, shards: object) -> None:
    store_of(tmp_path, [video(0)])
    content = json.loads((tmp_path / STORE_FILE).read_text())
    (tmp_path / STORE_FILE).write_text(json.dumps({**content, "shards": shards}))
    with pytest.raises(UserError, match=STORE_FILE):
        ClipStore(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"[]", b"{}", b'{"format": 2}', b'{"format": 2, "settings": 3, "shards": 1}', b"[" * 20_000,
     b'{"format": 2, "settings": {"group": 0}, "shards": 1}', b'{"format": ' + b"9" * 5000 + b"}"],
    ids=lambda content: content[:20],
)  # fmt: skip
def test_an_invalid_description_is_refused(tmp_path: Path, content: bytes) -> None:
    store_of(tmp_path, [video(0)])
    (tmp_path / STORE_FILE).write_bytes(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        ClipStore(tmp_path)


def test_missing_shards_are_counted_by_one_listing(tmp_path: Path) -> None:
    store_of(tmp_path, [video(0)])
    content = json.loads((tmp_path / STORE_FILE).read_text())
    (tmp_path / STORE_FILE).write_text(json.dumps({**content, "shards": 10**6}))
    (tmp_path / "part-1.parquet").touch()
    with pytest.raises(UserError, match="999999 of 1000000 shards"):
        ClipStore(tmp_path)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("changes", [*({"id": id} for id in IDS), *NUMBERS, {"label": None}, {"id": None}], ids=str)
def test_metadata_out_of_bounds_is_refused(tmp_path: Path, changes: dict[str, Any], index: bool) -> None:
    store = store_of(tmp_path, [video(0), video(1, **({} if index else changes))])
    if index:
        write_index(tmp_path, store.entries)
        rows = pq.read_table(tmp_path / INDEX_FILE).to_pylist()
        change_index(tmp_path, [rows[0], {**rows[1], **changes}])
    with pytest.raises(UserError, match=INDEX_FILE if index else "part-00000.parquet"):
        _ = ClipStore(tmp_path).entries


def change_index(store: Path, rows: Rows, schema: pa.Schema | None = None, **options: Any) -> None:
    before = pq.read_schema(store / INDEX_FILE).remove_metadata()
    pq.write_table(pa.Table.from_pylist(rows, schema or before), store / INDEX_FILE, **options)


def with_other_types(store: Path, rows: Rows) -> None:
    change_index(store, [{**row, "shard": str(row["shard"])} for row in rows], pa.schema({"shard": pa.string()}))


def with_large_offsets(store: Path, rows: Rows) -> None:
    schema = pq.read_schema(store / INDEX_FILE).remove_metadata()
    change_index(store, rows, schema.set(0, pa.field("id", pa.large_string())))


def with_one_long_text(store: Path, rows: Rows) -> None:
    """One text of 1 MiB in 5,000 rows, stored once by a dictionary."""
    table = pq.read_table(store / INDEX_FILE).take([0] * 5000)
    label = pa.DictionaryArray.from_arrays(np.zeros(5000, np.int32), ["a" * 2**20])
    table = table.set_column(table.schema.get_field_index("label"), "label", label)
    pq.write_table(table, store / INDEX_FILE, store_schema=False)
    assert (store / INDEX_FILE).stat().st_size < 2**21


def with_a_missing_shard(store: Path, rows: Rows) -> None:
    change_index(store, [{**rows[0], "shard": 1}])


def with_a_negative_shard(store: Path, rows: Rows) -> None:
    change_index(store, [{**rows[0], "shard": -1}])


def with_a_negative_row(store: Path, rows: Rows) -> None:
    change_index(store, [{**rows[0], "row": -1}])


def that_is_a_pipe(store: Path, rows: Rows) -> None:
    (store / INDEX_FILE).unlink()
    os.mkfifo(store / INDEX_FILE)


def that_is_a_device(store: Path, rows: Rows) -> None:
    (store / INDEX_FILE).unlink()
    (store / INDEX_FILE).symlink_to("/dev/zero")


DAMAGES = (
    with_other_types, with_large_offsets, with_one_long_text, with_a_missing_shard, with_a_negative_shard,
    with_a_negative_row, that_is_a_pipe, that_is_a_device,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_an_invalid_index_is_refused(tmp_path: Path, damage: Callable[[Path, Rows], None]) -> None:
    store = store_of(tmp_path, [video(0)])
    write_index(tmp_path, store.entries)
    damage(tmp_path, pq.read_table(tmp_path / INDEX_FILE).to_pylist())
    with pytest.raises(UserError, match=INDEX_FILE):
        _ = ClipStore(tmp_path).entries


def test_a_missing_row_is_reported(tmp_path: Path) -> None:
    store = store_of(tmp_path, [video(0), video(1)])
    write_index(tmp_path, store.entries)
    change_index(tmp_path, [{**pq.read_table(tmp_path / INDEX_FILE).to_pylist()[0], "row": 2**31 - 1}])
    store = ClipStore(tmp_path)
    with pytest.raises(UserError, match="part-00000.parquet"):
        store.read(store.entries[0])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(pa.int64(), 7), (pa.list_(pa.int64()), [7]), (pa.list_(pa.string()), ["7"]), (pa.list_(pa.binary()), None),
     (pa.list_(pa.binary()), [None]), (pa.binary(), b"7")],
    ids=str,
)  # fmt: skip
def test_frames_of_another_type_are_refused(tmp_path: Path, dtype: pa.DataType, value: object) -> None:
    store = store_of(tmp_path, [video(0)])
    entry = store.entries[0]
    schema = SCHEMA.set(SCHEMA.get_field_index("rgb"), pa.field("rgb", dtype))
    with open_shard_writer(shard_path(tmp_path, 0), schema) as writer:
        writer.write({**video(0), "rgb": value})
    with pytest.raises(UserError, match="part-00000.parquet"):
        ClipStore(tmp_path).read(entry)


def test_a_row_group_of_two_rows_is_refused(tmp_path: Path) -> None:
    entry = store_of(tmp_path, [video(0)]).entries[0]
    table = pa.Table.from_pylist([video(0), video(1)], SCHEMA)
    pq.write_table(table, shard_path(tmp_path, 0), compression="none", use_dictionary=False)
    with pytest.raises(UserError, match="part-00000.parquet"):
        ClipStore(tmp_path).read(entry)


def jpeg_with_declared_size(side: int) -> bytes:
    content = bytearray(cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes())
    offset = content.index(b"\xff\xc0") + 5
    content[offset : offset + 4] = side.to_bytes(2, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    "tile",
    [jpeg_with_declared_size(65_000), cv2.imencode(".png", np.zeros((160, 42), np.uint8))[1].tobytes(),
     cv2.imencode(".tiff", np.zeros((160, 42), np.uint8))[1].tobytes(), b"\xff\xd8\xff"],
    ids=["4 GB", "PNG", "TIFF", "empty"],
)  # fmt: skip
def test_flow_that_is_not_a_jpeg_of_its_size_is_refused(tmp_path: Path, tile: bytes) -> None:
    make_store(tmp_path, [[0]])
    rows = pq.read_table(shard_path(tmp_path, 0)).to_pylist()
    with open_shard_writer(shard_path(tmp_path, 0)) as writer:
        writer.write({**rows[0], "flow": [tile] * len(rows[0]["flow"])})
    store = ClipStore(tmp_path)
    with pytest.raises(UserError, match="part-00000.parquet"):
        store.read(store.entries[0]).flow([0])


PLANS = [
    b"[]", b"{}", b'{"test_fraction": 1, "shards": 3}', b'{"test_fraction": null, "shards": [[{"id": 3}]]}',
    b"[" * 20_000,
    b'{"test_fraction": null, "shards": [[{"id": "a", "label": "", "source": "", "split": "", "file": "x"}]]}',
    b'{"test_fraction": null, "shards": ' + b"9" * 5000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("content", PLANS, ids=lambda content: content[:60])
def test_an_invalid_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PLAN_FILE).write_bytes(content)
    with pytest.raises(UserError, match=PLAN_FILE):
        ShardPlan.read(tmp_path)


def test_invalid_failures_are_reported_and_those_of_unknown_videos_ignored(tmp_path: Path) -> None:
    store_of(tmp_path, [video(0)])
    metadata = {"id": "a", "label": "", "source": "", "split": ""}
    (tmp_path / PLAN_FILE).write_text(json.dumps({"test_fraction": None, "shards": [[metadata]]}))
    plan = ShardPlan.read(tmp_path)
    file = failures_path(tmp_path, 0)
    file.write_text('{"path": "of another plan", "reason": "", "stamp": null}\n{"half')
    assert read_failures(tmp_path, plan) == {}
    for line in ('{"path": "a"}', '{"path": 1, "reason": "", "stamp": null}', '{"path": "a", "reason": 1, "stamp": 1}'):
        file.write_text(f'{{"path": "a", "reason": "", "stamp": null}}\n{line}\n')
        with pytest.raises(UserError, match=f"{file.name}, line 2"):
            read_failures(tmp_path, plan)


def test_an_invalid_shard_is_reported_when_its_rows_are_counted_or_compared(tmp_path: Path) -> None:
    shard_path(tmp_path, 0).write_bytes(b"PAR1")
    pq.write_table(pa.table({"id": [1]}), shard_path(tmp_path, 1))
    for call in (lambda: stored_rows(tmp_path, 0), lambda: _contents(tmp_path, 0), lambda: _contents(tmp_path, 1)):
        with pytest.raises(UserError, match="part-0000"):
            call()


@pytest.mark.parametrize("content", [b"[]", b"3", b"{", b"\xff", b"[" * 20_000])
def test_an_invalid_record_of_synthetic_videos_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(UserError, match=RECORD):
        check_existing_videos(tmp_path, {"seed": 0}, [], [])


@pytest.mark.slow
def test_equal_frames_of_a_shard_share_memory(tmp_path: Path) -> None:
    store_of(tmp_path, [video(0, rgb=[bytes(2**20)] * 200)])
    shard = shard_path(tmp_path, 0)
    pq.write_table(pq.read_table(shard), shard, row_group_size=1, compression="none")
    entry = next(iter(ClipStore(tmp_path).entries))
    stored = ClipStore(tmp_path).read(entry, ["rgb"])
    assert shard.stat().st_size < 2**22
    assert len(stored._rgb) == 200
    assert len({id(frame) for frame in stored._rgb}) == 1
