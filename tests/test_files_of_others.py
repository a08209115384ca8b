"""Files that somebody else wrote: an error in words, or what they say; never a hang, a crash or a full memory."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vicc_ray.errors import UserError
from vicc_ray.utils.arrow_file import open_parquet, read_arrow, read_parquet
from vicc_ray.utils.json_file import DEEPEST, parse_json, read_json
from vicc_ray.utils.regular_file import NotRegularError, open_regular

SCHEMA = pa.schema([("id", pa.string()), ("unit", pa.list_(pa.float32(), 2)), ("spans", pa.list_(pa.float32()))])
ROWS = [{"id": f"video {n}", "unit": [n, 1.0], "spans": [0.5] * n} for n in range(20)]
MEMORY = 2**20


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"7", b"\xff", b"[" * 20_000, b'{"a":' * 20_000, b'{"a":' + b"9" * 5000 + b"}",
     json.dumps({"a": "b" * 2000}).encode(), b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1)],
    ids=lambda content: content[:8],
)  # fmt: skip
def test_invalid_json_is_refused_with_its_path_and_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path}.*a plan.*make it anew"):
        read_json(path, "a plan", "make it anew", largest=1000 if b"bb" in content else 10**6)


def test_json_is_read_up_to_the_depth_limit(tmp_path: Path) -> None:
    content = b'{"a":' * DEEPEST + b"1" + b"}" * DEEPEST
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json", "a plan", "make it anew") == parse_json(content) == json.loads(content)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json", "a plan", "make it anew")


def test_pipes_and_devices_are_neither_waited_for_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "zeros", "."):
        with pytest.raises(NotRegularError):
            open_regular(tmp_path / name)
        for read in (
            lambda path: read_json(path, "a plan", "make it anew"),
            lambda path: read_arrow(path, SCHEMA, "make it anew"),
            lambda path: open_parquet(path, SCHEMA, "make it anew", MEMORY),
        ):
            with pytest.raises(UserError, match="make it anew"):
                read(tmp_path / name)
    (tmp_path / "link").symlink_to(__file__)
    with open_regular(tmp_path / "link") as file:
        assert file.read() == Path(__file__).read_bytes()
    with pytest.raises(OSError):
        open_regular(tmp_path / "link", follow=False)


def arrow(
    path: Path, schema: pa.Schema = SCHEMA, rows: Sequence[Mapping[str, object]] = ROWS, **options: object
) -> Path:
    table = pa.Table.from_pylist(rows, schema)
    with pa.ipc.new_file(path, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in table.to_batches(7):
            writer.write_batch(batch)
    return path


def test_an_arrow_file_survives_a_round_trip(tmp_path: Path) -> None:
    written = SCHEMA.with_metadata({b"mean": b"1234"})
    table = read_arrow(arrow(tmp_path / "a.arrow", written), SCHEMA, "make it anew")
    assert table.to_pylist() == ROWS
    assert table.schema.metadata == written.metadata
    assert not read_arrow(arrow(tmp_path / "a.arrow", rows=[]), SCHEMA, "make it anew")


@pytest.mark.parametrize(
    "schema",
    [SCHEMA.set(0, pa.field("id", pa.large_string())), SCHEMA.set(1, pa.field("unit", pa.list_(pa.float32(), 1))),
     SCHEMA.remove(2), SCHEMA.append(pa.field("more", pa.string())), SCHEMA.append(pa.field("id", pa.string()))],
    ids=["type", "width", "fewer", "more", "twice"],
)  # fmt: skip
def test_an_arrow_file_with_another_schema_is_refused(tmp_path: Path, schema: pa.Schema) -> None:
    with pytest.raises(UserError, match="make it anew"):
        read_arrow(arrow(tmp_path / "a.arrow", schema, []), SCHEMA, "make it anew")


def test_a_compressed_arrow_file_is_refused(tmp_path: Path) -> None:
    """100 KB of it could be 1 GB."""
    for compression in ("zstd", "lz4"):
        with pytest.raises(UserError, match="compressed"):
            read_arrow(arrow(tmp_path / "a.arrow", compression=compression), SCHEMA, "make it anew")


def test_offsets_out_of_bounds_are_refused(tmp_path: Path) -> None:
    content = arrow(tmp_path / "a.arrow").read_bytes()
    before = pa.array([row["id"] for row in ROWS[:7]]).buffers()[1]
    assert before
    place = content.index(before.to_pybytes()[:32])
    for offset in (-5, 2**31 - 1, 100_000):
        damaged = bytearray(content)
        damaged[place + 8 : place + 12] = offset.to_bytes(4, "little", signed=True)
        (tmp_path / "b.arrow").write_bytes(damaged)
        with pytest.raises(UserError, match=r"b\.arrow.*make it anew"):
            read_arrow(tmp_path / "b.arrow", SCHEMA, "make it anew")


def test_a_truncated_or_corrupted_arrow_file_is_read_or_refused(tmp_path: Path) -> None:
    content, rng = arrow(tmp_path / "a.arrow").read_bytes(), random.Random(0)
    damaged = [content[:length] for length in range(0, len(content), 61)]
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(changed))
    told = 0
    for one in damaged:
        (tmp_path / "b.arrow").write_bytes(one)
        try:
            read_arrow(tmp_path / "b.arrow", SCHEMA, "make it anew").to_pylist()
        except UserError:
            told += 1
    assert told > len(content) // 61


def test_a_parquet_file_must_have_the_columns_and_fit_the_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), path)
    with open_parquet(path, SCHEMA.remove(1), "make it anew", MEMORY) as file:
        assert file.read().to_pylist() == ROWS
    with pytest.raises(UserError, match="make it anew"):
        open_parquet(path, SCHEMA, "make it anew", 100)
    for schema in (pa.schema([("other", pa.string())]), pa.schema([("id", pa.binary())])):
        with pytest.raises(UserError, match="make it anew"):
            open_parquet(path, schema, "make it anew", MEMORY)
    pq.write_table(pa.table({"id": ["a"] * 10**6}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < MEMORY // 10
    with pytest.raises(UserError, match=r"allowed.*make it anew"):
        open_parquet(path, pa.schema([("id", pa.string())]), "make it anew", MEMORY)


def test_a_dictionary_encoded_text_is_not_expanded_beyond_the_memory_limit(tmp_path: Path) -> None:
    path, schema = tmp_path / "a.parquet", pa.schema([("id", pa.string())])
    pq.write_table(pa.table({"id": ["a" * 1000] * 1000}), path)
    assert read_parquet(path, schema, "make it anew", MEMORY).num_rows == 1000
    pq.write_table(pa.table({"id": ["a" * 1000] * 2000}), path)
    assert path.stat().st_size < 5000
    with pytest.raises(UserError, match=r"a\.parquet.*memory.*make it anew"):
        read_parquet(path, schema, "make it anew", MEMORY)


def test_a_sparse_file_of_another_account_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = arrow(tmp_path / "a.arrow")
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    os.truncate(path, 2**28)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=str(path)):
            read_arrow(path, SCHEMA, "make it anew")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
