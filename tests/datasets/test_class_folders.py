from __future__ import annotations

from pathlib import Path

import pytest

from tests.listed import touch
from vicc_ray.datasets import list_videos
from vicc_ray.errors import UserError


def test_one_folder_per_class(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.MP4", "b/1.avi", "a/deep/x.webm", "top.mkv", "a/notes.txt", "a/.hidden.mp4", ".git/y.mp4")
    inputs = list_videos(tmp_path)
    assert [(i.id, i.label) for i in inputs.items] == [
        ("a/deep/x.webm", "a"),
        ("b/1.avi", "b"),
        ("b/2.MP4", "b"),
        ("top.mkv", ""),
    ]
    assert all(i.source == i.id and i.split == "" and i.location == tmp_path / i.id for i in inputs.items)
    assert inputs.unlisted == 0


def test_links_are_followed_and_cycles_end(tmp_path: Path) -> None:
    touch(tmp_path, "real/class/x.mp4")
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "linked").symlink_to(tmp_path / "real" / "class")
    (videos / "circle").symlink_to(videos)
    assert [i.id for i in list_videos(videos).items] == ["linked/x.mp4"]


def test_a_name_that_is_not_utf8_gets_a_printable_id(tmp_path: Path) -> None:
    path = Path(str(tmp_path / "a"), "caf\udce9.mp4")
    touch(path.parent, path.name)
    (found,) = list_videos(tmp_path).items
    assert found.id.encode() == rb"a/caf\udce9.mp4"
    assert isinstance(found.location, Path)
    assert found.location.read_bytes() == b"x"


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path / "none")):
        list_videos(tmp_path / "none")
    with pytest.raises(UserError, match=r"no videos in .*\.mp4"):
        list_videos(tmp_path)
    touch(tmp_path, "file")
    with pytest.raises(UserError, match="file"):
        list_videos(tmp_path / "file")
    with pytest.raises(UserError, match=r"none\.csv"):
        list_videos(tmp_path, tmp_path / "none.csv")


def test_folders_are_not_classes_without_labels(tmp_path: Path) -> None:
    touch(tmp_path, "monday/1.mp4", "tuesday/2.mp4")
    (tmp_path / "labels.csv").write_text("path,label\nmonday/1.mp4,walk\n")
    assert [(i.id, i.label, i.source) for i in list_videos(tmp_path, "none").items] == [
        ("monday/1.mp4", "", "monday/1.mp4"),
        ("tuesday/2.mp4", "", "tuesday/2.mp4"),
    ]
