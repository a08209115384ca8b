"""Damaged or malicious indexes: every violation is reported with its file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.search.made import describe, made_up, untrained
from vicc_ray.errors import UserError
from vicc_ray.search import reader
from vicc_ray.search.index_format import ENCODER_FILE, INDEX_FILE, VIDEOS_FILE
from vicc_ray.search.index_schema import MEAN
from vicc_ray.search.query import index_encoder, resolve_query
from vicc_ray.search.ranking import query_of_row, search
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.reload import ReloadingIndex

FEATURES, PART = untrained().features, "part-00000.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    windows = np.random.default_rng(0).standard_normal((6, 2, FEATURES)).astype(np.float32)
    return made_up(tmp_path_factory.mktemp("index"), list(windows), a_part=4)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Index of six videos in two parts, which a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "index"))


def use(folder: Path) -> None:
    index = SearchIndex(folder)
    for row in range(len(index)):
        index.thumbnail(row)
        search(index, query_of_row(index, row), 5)
    index_encoder(index)


def change_videos(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    with pa.memory_map(str(folder / VIDEOS_FILE)) as file:
        table = change(pa.ipc.open_file(file).read_all()).combine_chunks()
    (folder / VIDEOS_FILE).unlink()
    with pa.ipc.new_file(folder / VIDEOS_FILE, table.schema) as writer:
        writer.write_table(table)


def with_value(table: pa.Table, name: str, value: Any, row: int = 1) -> pa.Table:
    values = table.column(name).to_pylist()
    values[row] = value
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("name", "value"),
    [("part", -1), ("part", 2**31 - 1), ("part", 2), ("row", -1), ("row", 9), ("seconds", float("nan")),
     ("seconds", -1.0), ("seconds", float("inf")), ("file", b"/etc/shadow.mp4"), ("file", b"../a.mp4"),
     ("file", b"a/../../b.mp4"), ("file", b"a\0.mp4"), ("file", b"x" * 10_000), ("id", "x" * 10_000),
     ("label", "x" * 10_000), ("id", None), ("id", "other.mp4"),
     ("unit", [float("nan")] * FEATURES), ("unit", [float("inf")] * FEATURES), ("part", None)],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_invalid_rows_are_reported(folder: Path, name: str, value: Any) -> None:
    change_videos(folder, lambda table: with_value(table, name, value))
    with pytest.raises(UserError, match=rf"({VIDEOS_FILE}|part-\d+.parquet) is damaged .*vicc-ray index"):
        use(folder)


@pytest.mark.parametrize("mean", [None, b"", b"123", np.full(FEATURES, np.nan, np.float32).tobytes(), bytes(4)])
def test_an_invalid_mean_is_reported(folder: Path, mean: bytes | None) -> None:
    change_videos(folder, lambda table: table.replace_schema_metadata({} if mean is None else {MEAN: mean}))
    with pytest.raises(UserError, match=f"{VIDEOS_FILE} is damaged"):
        use(folder)


def test_offsets_outside_the_file_are_reported_and_not_followed(folder: Path) -> None:
    content = (folder / VIDEOS_FILE).read_bytes()
    offsets = np.cumsum([0, *[len(f"{n}.mp4") for n in range(6)]]).astype("<i4").tobytes()
    for wrong in (2**30, -(2**30), 2**31 - 1):
        damaged = content.replace(offsets, offsets[:8] + wrong.to_bytes(4, "little", signed=True) + offsets[12:])
        assert damaged != content
        (folder / VIDEOS_FILE).unlink()
        (folder / VIDEOS_FILE).write_bytes(damaged)
        with pytest.raises(UserError, match=f"{VIDEOS_FILE} is damaged"):
            SearchIndex(folder)


def change_part(folder: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    table = change(pq.read_table(folder / PART))
    pq.write_table(table, folder / PART, **{"row_group_size": 1, "compression": "none", **options})


@pytest.mark.parametrize(
    ("name", "value"),
    [("windows", [0.0] * (FEATURES + 1)), ("windows", []), ("windows", None), ("start", [0.0]), ("start", [3.0, 3.0]),
     ("end", [float("nan")] * 2), ("start", [-1.0, 0.0]), ("windows", [float("inf")] * 2 * FEATURES),
     ("windows", [None] * 2 * FEATURES), ("id", "5.mp4"), ("thumbnail", None)],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_invalid_windows_are_reported(folder: Path, name: str, value: Any) -> None:
    change_part(folder, lambda table: with_value(table, name, value))
    with pytest.raises(UserError, match=rf"{PART} is damaged .*vicc-ray index"):
        use(folder)


def test_a_part_with_another_layout_is_reported(folder: Path) -> None:
    changes: list[tuple[Callable[[pa.Table], pa.Table], dict[str, Any]]] = [
        (lambda table: table, {"row_group_size": 2}),
        (lambda table: table.drop_columns("thumbnail"), {}),
        (lambda table: table.set_column(0, "id", table.column("file")), {}),
        (lambda table: table.slice(0, 1), {}),
        (lambda table: with_value(table, "thumbnail", bytes(10**6)), {"compression": "zstd"}),
        (lambda table: with_value(table, "thumbnail", bytes(2**20 + 1)), {}),
    ]
    content = (folder / PART).read_bytes()
    for change, options in changes:
        (folder / PART).write_bytes(content)
        change_part(folder, change, **options)
        with pytest.raises(UserError, match=f"{PART} is damaged"):
            use(folder)


def test_a_row_larger_than_declared_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet pages declare their own size, so the sizes in the metadata of a part are not trusted alone."""
    monkeypatch.setattr(reader, "LARGEST_READ", 4 * FEATURES)
    with pytest.raises(UserError, match=f"{PART} is damaged"):
        use(folder)


@pytest.mark.parametrize(
    "change",
    [{"features": 8}, {"features": 2**40}, {"features": -1}, {"spec": 7}, {"spec": {"size": 10**9}},
     {"spec": {"frames": 5}}, {"spec": {"overlap": 1.0}}, {"fingerprint": "x"}, {"videos": 7},
     {"videos": "x" * 10**6}, {"more": 1}, {"seal": []}],
    ids=str,
)  # fmt: skip
def test_an_invalid_description_is_reported(folder: Path, change: dict[str, Any]) -> None:
    content = json.loads((folder / INDEX_FILE).read_text())
    spec = change.get("spec")
    change = {**change, "spec": {**content["spec"], **spec}} if isinstance(spec, dict) else change
    (folder / INDEX_FILE).write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError):
        use(folder)


def test_an_oversized_description_is_reported(folder: Path) -> None:
    for content in (b"[" * 20_000, b'{"format":' * 20_000, b"[]", b"\xff\xfe", b'{"spec":' * 900 + b"1" + b"}" * 900):
        (folder / INDEX_FILE).write_bytes(content)
        with pytest.raises(UserError, match=INDEX_FILE):
            SearchIndex(folder)
    with (folder / INDEX_FILE).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match=INDEX_FILE):
        SearchIndex(folder)


def test_an_oversized_network_is_not_built(folder: Path) -> None:
    with safe_open(folder / ENCODER_FILE, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(folder / ENCODER_FILE)
    model = {**json.loads(header["model"]), "embedding": 10**12}
    for change in ({"model": json.dumps(model)}, {"card": "[" * 20_000}, {"card": "[]"}, {"clip": '{"a":' * 20_000}):
        save_file(tensors, folder / ENCODER_FILE, {**header, **change})
        with pytest.raises(UserError, match=ENCODER_FILE):
            use(folder)


@pytest.mark.parametrize("name", [INDEX_FILE, VIDEOS_FILE, PART, ENCODER_FILE])
def test_special_files_are_reported_and_not_awaited(folder: Path, name: str) -> None:
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        make(folder / name)
        with pytest.raises(UserError):
            use(folder)


def test_an_index_damaged_while_served_is_reported_and_recovers(folder: Path) -> None:
    current = ReloadingIndex(SearchIndex(folder))
    content = (folder / VIDEOS_FILE).read_bytes()
    for damaged in (content[:-100], b"", b"x" * 1000):
        (folder / VIDEOS_FILE).unlink()
        (folder / VIDEOS_FILE).write_bytes(damaged)
        with pytest.raises(UserError, match=VIDEOS_FILE):
            current.get()
    (folder / VIDEOS_FILE).unlink()
    (folder / VIDEOS_FILE).write_bytes(content)
    assert len(current.get()) == 6


def test_non_finite_query_features_are_reported(folder: Path, videos: Path) -> None:
    weights = untrained()
    for tensor in weights.tensors.values():
        tensor.fill_(float("nan")) if tensor.is_floating_point() else None
    describe(folder, weights, folder / "videos")
    with pytest.raises(UserError, match="not finite"):
        resolve_query(SearchIndex(folder), str(videos / "b/up.mp4"))


@pytest.mark.slow
def test_random_damage_never_crashes_the_process(tmp_path: Path) -> None:
    """Seeded changes of bits, bytes, numbers and lengths at random places."""
    command = [sys.executable, "-m", "tests.search.damaged_index", str(tmp_path / "index"), "360", "0"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "'failed'" not in run.stdout, run.stderr[-2000:]
    assert len(re.findall(r"'used'\), \d+", run.stdout)) >= 3
