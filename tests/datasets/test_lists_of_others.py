"""Lists of videos from untrusted sources: no file outside the videos folder is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.listed import touch, write_lists
from tests.s3 import S3, s3_server
from vicc_ray.datasets import list_videos
from vicc_ray.datasets.locations import list_files, local_file, read
from vicc_ray.datasets.object_storage import RemotePath, UnreadableFileError
from vicc_ray.errors import UserError

UCF, KINETICS = "trainlist01.txt", "label,youtube_id,time_start,time_end,split\n"
OUTSIDE = {
    "UCF101, the class above": {UCF: "../secret.avi 1\n", "testlist01.txt": ""},
    "UCF101, the name above": {"testlist01.txt": "a\0/v_a_g01_c01.avi\n", UCF: ""},
    "HMDB51, an absolute name": {"a_test_split1.txt": "../../../../etc/secret.avi 1\n"},
    "HMDB51, a name above": {"a_test_split1.txt": "../../secret.avi 1\n"},
    "HMDB51, the class above": {".._test_split1.txt": "secret.avi 1\n"},
    "Kinetics, an absolute class": {"train.csv": f"{KINETICS}/etc,secret,0,1,train\n"},
    "Kinetics, a class above": {"train.csv": f"{KINETICS}../..,secret,0,1,train\n"},
    "Kinetics, a name above": {"train.csv": f"{KINETICS}a,../../secret,0,1,train\n"},
    "Kinetics, no class and an absolute name": {"train.csv": f"{KINETICS},/secret,0,1,train\n"},
}


@pytest.mark.parametrize("lists", OUTSIDE)
def test_a_path_outside_the_videos_folder_is_refused(tmp_path: Path, lists: str) -> None:
    videos = touch(tmp_path / "videos", "a/v.avi")
    touch(tmp_path, "secret.avi", "secret_000000_000001.mp4")
    with pytest.raises(UserError, match=f"{tmp_path / 'lists'}.*videos folder"):
        list_videos(videos, write_lists(tmp_path / "lists", OUTSIDE[lists]))


def test_an_infinite_time_is_refused(tmp_path: Path) -> None:
    lists = write_lists(tmp_path / "lists", {"train.csv": f"{KINETICS}a,b,0,inf,train\n"})
    with pytest.raises(UserError, match="line 2"):
        list_videos(touch(tmp_path / "videos", "a/v.avi"), lists)


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet", "train.csv"])
def test_a_list_that_is_a_pipe_or_device_is_refused(tmp_path: Path, name: str) -> None:
    videos = touch(tmp_path / "videos", "a/v.avi")
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=name):
        list_videos(videos, tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(UserError, match=name):
        list_videos(videos, tmp_path / name)


def test_a_video_that_is_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (item,) = list_videos(tmp_path).items
    with pytest.raises(UnreadableFileError), local_file(item.location):
        pass


@pytest.mark.parametrize(
    "line",
    [*(json.dumps({"path": path}) for path in ("../a.mp4", "/etc/a.mp4", "a/../../b.mp4", "a\0.mp4", "s3://b/c.mp4")),
     "[" * 20_000, '{"path": ' * 20_000, '{"path": ' + "9" * 5000 + "}"],
    ids=lambda line: line[:30],
)  # fmt: skip
def test_an_invalid_line_of_a_manifest_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "labels.jsonl").write_text(f"{line}\n")
    with pytest.raises(UserError, match="line 1"):
        list_videos(touch(tmp_path / "videos", "a.mp4"), tmp_path / "labels.jsonl")


def test_a_manifest_that_is_too_large_in_memory_is_refused(tmp_path: Path) -> None:
    videos, file = touch(tmp_path / "videos", "a.mp4"), tmp_path / "labels.parquet"
    label = pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), ["a" * 2**20])
    paths = [f"{n}.mp4" for n in range(2000)]
    pq.write_table(pa.table({"path": paths, "label": label}), file, store_schema=False)
    assert file.stat().st_size < 2**21
    with pytest.raises(UserError, match="memory"):
        list_videos(videos, file)
    pq.write_table(pa.table({"path": pa.array([""] * 10**6)}), file)
    with pytest.raises(UserError, match="1,000,000 rows"):
        list_videos(videos, file)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 20 + b"PAR1", b"PAR1\x04\0\0\0PAR1"])
def test_an_invalid_parquet_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.parquet").write_bytes(content)
    with pytest.raises(UserError, match="labels.parquet"):
        list_videos(touch(tmp_path / "videos", "a.mp4"), tmp_path / "labels.parquet")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def test_a_path_in_a_bucket_outside_the_folder_is_not_a_video(s3: S3) -> None:
    s3.put("videos/a.mp4")
    s3.put("videos/../../etc/b.mp4")
    tree = list_files(RemotePath(s3.address("videos")))
    assert list(tree.files) == ["a.mp4"]
    with pytest.raises(UserError, match=r"\.\./\.\./etc/b\.mp4"):
        list_videos(s3.address("videos"))


def test_a_list_can_be_piped_from_a_shell() -> None:
    out, into = os.pipe()
    os.write(into, b"path,label\n")
    os.close(into)
    try:
        assert read(Path(f"/dev/fd/{out}")) == b"path,label\n"
    finally:
        os.close(out)


def test_a_pipe_in_a_folder_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(UserError, match="labels.csv"):
        read(tmp_path / "labels.csv")
