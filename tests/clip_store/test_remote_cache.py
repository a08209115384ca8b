"""A clip store in a bucket is read as the one in a folder, and each file of it is fetched once a machine."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.clip_store.test_store import make_store
from tests.s3 import BUCKET, S3, s3_server
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.remote_cache import CACHE_VARIABLE, RemoteCache, cache_folder
from vicc_ray.clip_store.schema import INDEX_FILE, STORE_FILE, shard_path
from vicc_ray.clip_store.writer import write_index
from vicc_ray.errors import UserError


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with s3_server() as server:
        yield server


def finished_store(path: Path) -> ClipStore:
    make_store(path, [[0, 1], [2]])
    (path / "failures.jsonl").write_text("")
    write_index(path, ClipStore(path).entries)
    return ClipStore(path)


def test_what_is_read_is_what_lies_in_the_folder(tmp_path: Path, s3: S3) -> None:
    here = finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "a/store")
    there = ClipStore(s3.address("a/store"))
    assert there.entries == here.entries
    assert there.settings == here.settings
    for entry in there.entries:
        assert np.array_equal(there.read(entry).rgb([0, 5]), here.read(entry).rgb([0, 5]))
    assert there.failures_file.read_text() == ""
    assert "secret" not in str(there)
    assert str(there).startswith(f"s3://{BUCKET}/a/store")


def test_a_shard_is_fetched_when_it_is_needed_and_once(tmp_path: Path, s3: S3) -> None:
    finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "store")
    store = ClipStore(s3.address("store"))
    first, *_, last = store.entries
    assert not list(cache_folder().rglob("part-*"))
    store.read(first)
    assert [path.name for path in cache_folder().rglob("part-*")] == ["part-00000.parquet"]
    for name in (shard_path(Path(), 0).name, shard_path(Path(), 1).name):
        s3.client.delete_object(Bucket=BUCKET, Key=f"store/{name}")
    again = pickle.loads(pickle.dumps(store))
    assert again.read(first).frames == 6
    with pytest.raises(UserError, match=r"part-00001.parquet.*: no such file; is the clip store there as a whole"):
        again.read(last)
    assert not list(cache_folder().rglob("*.part"))


def test_many_readers_get_whole_files(tmp_path: Path, s3: S3) -> None:
    content = np.random.default_rng(0).bytes(20 << 20)
    s3.put("x/version", b"1")
    s3.put("x/large", content)
    mirrors = [RemoteCache(s3.address("x"), ("version",)) for _ in range(6)]
    with ThreadPoolExecutor(6) as readers:
        assert all(readers.map(lambda mirror: mirror.file("large").read_bytes() == content, mirrors))


def test_a_store_that_has_changed_is_another_one(tmp_path: Path, s3: S3) -> None:
    finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "store")
    before = ClipStore(s3.address("store"))
    kept = before.entries[:2]
    write_index(tmp_path / "store", kept)
    s3.put_folder(tmp_path / "store", "store")
    assert len(before.entries) == 3
    assert ClipStore(s3.address("store")).entries == kept


@pytest.mark.parametrize("missing", [STORE_FILE, INDEX_FILE])
def test_what_is_no_whole_store_is_told(tmp_path: Path, s3: S3, missing: str) -> None:
    finished_store(tmp_path / "store")
    (tmp_path / "store" / missing).unlink()
    s3.put_folder(tmp_path / "store", "store")
    with pytest.raises(UserError, match=f"nothing at s3://{BUCKET}/store/{missing}"):
        ClipStore(s3.address("store"))


def test_a_damaged_copy_is_named(tmp_path: Path, s3: S3) -> None:
    finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "store")
    store = ClipStore(s3.address("store"))
    store.read(store.entries[0])
    (copy,) = cache_folder().rglob("part-00000.parquet")
    copy.write_bytes(copy.read_bytes()[:100])
    with pytest.raises(
        UserError, match=r"part-00000.parquet is damaged.* copied from s3://.* remove it: it is copied again"
    ):
        ClipStore(s3.address("store")).read(store.entries[0])
    copy.unlink()
    assert ClipStore(s3.address("store")).read(store.entries[0]).frames == 6


def test_the_folder_of_the_copies_is_one_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, "~/cache")
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, "s3://bucket/cache")
    with pytest.raises(UserError, match=CACHE_VARIABLE):
        cache_folder()
