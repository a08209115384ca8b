"""Manifests: three formats with equal results, and invalid rows are named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.listed import touch
from vicc_ray.datasets import VideoItem, list_videos
from vicc_ray.errors import UserError

ROWS: list[dict[str, object]] = [
    {"source": "s1", "path": "a/2.mp4", "label": "run", "split": "test"},
    {"source": None, "path": "a/1.mp4", "label": "walk", "split": "train"},
    {"source": "s1", "path": "gone.mp4", "label": None, "split": None},
]
FORMATS = ("labels.csv", "labels.jsonl", "labels.parquet", "other.ndjson")


def write_manifest(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write the rows in the format of the file's suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines: list[list[object]] = [list(rows[0]), *([row[name] for name in rows[0]] for row in rows)]
        path.write_text(
            "\ufeff" + "".join(",".join("" if v is None else str(v) for v in line) + "\n" for line in lines)
        )
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_lists_the_same_videos(tmp_path: Path, name: str) -> None:
    videos = touch(tmp_path / "videos", "a/1.mp4", "a/2.mp4", "b/3.mp4")
    manifest = write_manifest(tmp_path / name, ROWS)
    inputs = list_videos(videos, manifest)
    assert inputs.items == (
        VideoItem(videos / "a/1.mp4", "a/1.mp4", "walk", "a/1.mp4", "train"),
        VideoItem(videos / "a/2.mp4", "a/2.mp4", "run", "s1", "test"),
        VideoItem(videos / "gone.mp4", "gone.mp4", "", "s1", ""),
    )
    assert inputs.unlisted == 1
    manifest.rename(videos / name)
    assert (list_videos(videos) == inputs) == (name != "other.ndjson")


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.parquet"])
def test_values_of_other_types_are_converted_to_text(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "1.mp4")
    write_manifest(tmp_path / name, [{"path": "1.mp4", "label": 7, "source": True, "extra": [1]}])
    (item,) = list_videos(tmp_path).items
    assert (item.label, item.source, item.split) == ("7", "true", "")


@pytest.mark.parametrize("name", FORMATS[:3])
def test_without_a_label_column_the_folder_is_the_label(tmp_path: Path, name: str) -> None:
    write_manifest(tmp_path / name, [{"path": "run/1.mp4"}, {"path": "2.mp4"}])
    assert [i.label for i in list_videos(tmp_path).items] == ["", "run"]


@pytest.mark.parametrize("name", FORMATS[:3])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"file": "x.mp4", "label": "a"}], "no column named path.*file, label"),
        ([{"path": "x.mp4"}, {"path": "x.mp4"}], "x.mp4"),
        ([{"path": "/etc/x.mp4"}], "(line 2|line 1|row 1): path '/etc/x.mp4'"),
        ([{"path": "../x.mp4"}], r"path '\.\./x\.mp4'"),
        ([{"path": "y.mp4"}, {"path": " "}], "(line 3|line 2|row 2): path ''"),
        ([{"path": "x.mp4", "split": "validation"}], "split 'validation'.*train, test"),
    ],
)
def test_invalid_rows_are_named_in_every_format(
    tmp_path: Path, name: str, rows: list[dict[str, object]], message: str
) -> None:
    write_manifest(tmp_path / name, rows)
    with pytest.raises(UserError, match=message):
        list_videos(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", b"", "no column named path"),
        ("labels.csv", b"path\n", "no video"),
        ("labels.csv", b"path\nx\xe9.mp4\n", "UTF-8"),
        ("labels.jsonl", b'{"path": "x.mp4"}\n\n{"path":\n', "line 3"),
        ("labels.jsonl", b'"x.mp4"\n', "line 1: '\"x.mp4\"'"),
        ("labels.parquet", b"path\nx.mp4\n", "Parquet"),
    ],
)
def test_invalid_manifests_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        list_videos(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_two_default_manifests_are_refused(tmp_path: Path) -> None:
    for name in ("labels.csv", "labels.parquet"):
        write_manifest(tmp_path / name, ROWS)
    with pytest.raises(UserError, match=r"labels.csv.*labels.parquet.*--labels"):
        list_videos(tmp_path)
    assert len(list_videos(tmp_path, tmp_path / "labels.csv").items) == 3


@pytest.mark.parametrize("name", ["a folder", "notes.txt", "missing"])
def test_unknown_annotations_are_refused_with_all_formats(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "1.mp4", "notes.txt", "a folder/readme.md")
    with pytest.raises(UserError) as error:
        list_videos(tmp_path, tmp_path / name)
    message = str(error.value)
    if name == "missing":
        assert str(tmp_path / name) in message and "No such file or directory" in message
    else:
        assert all(format in message for format in ("manifest (.csv", "UCF101", "HMDB51", "Kinetics", "class"))
    assert "\n" not in message
