"""A clip store in a bucket reads like a local one, and each of its files is downloaded once per machine."""

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


def test_a_remote_store_reads_like_a_local_one(tmp_path: Path, s3: S3) -> None:
    local = finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "a/store")
    remote = ClipStore(s3.address("a/store"))
    assert remote.entries == local.entries
    assert remote.settings == local.settings
    for entry in remote.entries:
        assert np.array_equal(remote.read(entry).rgb([0, 5]), local.read(entry).rgb([0, 5]))
    assert remote.failures_file.read_text() == ""
    assert "secret" not in str(remote)
    assert str(remote).startswith(f"s3://{BUCKET}/a/store")


def test_a_shard_is_downloaded_once_when_it_is_first_needed(tmp_path: Path, s3: S3) -> None:
    finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "store")
    store = ClipStore(s3.address("store"))
    first, *_, last = store.entries
    assert not list(cache_folder().rglob("part-*"))
    store.read(first)
    assert [path.name for path in cache_folder().rglob("part-*")] == ["part-00000.parquet"]
    for name in (shard_path(Path(), 0).name, shard_path(Path(), 1).name):
        s3.client.delete_object(Bucket=BUCKET, Key=f"store/{name}")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.read(first).frames == 6
    with pytest.raises(UserError, match=r"part-00001.parquet"):
        copy.read(last)
    assert not list(cache_folder().rglob("*.part"))


@pytest.mark.slow
def test_concurrent_readers_get_complete_files(tmp_path: Path, s3: S3) -> None:
    content = np.random.default_rng(0).bytes(20 << 20)
    s3.put("x/version", b"1")
    s3.put("x/large", content)
    caches = [RemoteCache(s3.address("x"), ("version",)) for _ in range(6)]
    with ThreadPoolExecutor(6) as readers:
        assert all(readers.map(lambda cache: cache.file("large").read_bytes() == content, caches))


def test_a_changed_store_gets_a_new_cache(tmp_path: Path, s3: S3) -> None:
    finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "store")
    before = ClipStore(s3.address("store"))
    remaining = before.entries[:2]
    write_index(tmp_path / "store", remaining)
    s3.put_folder(tmp_path / "store", "store")
    assert len(before.entries) == 3
    assert ClipStore(s3.address("store")).entries == remaining


@pytest.mark.parametrize("missing", [STORE_FILE, INDEX_FILE])
def test_an_incomplete_store_is_refused(tmp_path: Path, s3: S3, missing: str) -> None:
    finished_store(tmp_path / "store")
    (tmp_path / "store" / missing).unlink()
    s3.put_folder(tmp_path / "store", "store")
    with pytest.raises(UserError, match=f"s3://{BUCKET}/store/{missing}"):
        ClipStore(s3.address("store"))


def test_a_damaged_copy_is_named(tmp_path: Path, s3: S3) -> None:
    finished_store(tmp_path / "store")
    s3.put_folder(tmp_path / "store", "store")
    store = ClipStore(s3.address("store"))
    store.read(store.entries[0])
    (copy,) = cache_folder().rglob("part-00000.parquet")
    copy.write_bytes(copy.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{copy}.*s3://"):
        ClipStore(s3.address("store")).read(store.entries[0])
    copy.unlink()
    assert ClipStore(s3.address("store")).read(store.entries[0]).frames == 6


def test_the_cache_folder_must_be_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, "~/cache")
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, "s3://bucket/cache")
    with pytest.raises(UserError, match=CACHE_VARIABLE):
        cache_folder()
