"""Recursive listing of a folder: nothing is skipped silently, and the order of the file system has no effect."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.listed import touch
from vicc_ray.datasets import list_videos
from vicc_ray.errors import UserError

LISTING = """
import ctypes, sys
from vicc_ray.datasets import list_videos
version_3, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(version_3, nothing) == 0
print([item.id for item in list_videos(*sys.argv[1:]).items])
"""


def list_without_privileges(*arguments: Path) -> subprocess.CompletedProcess[str]:
    """List videos in a process without root's rights, so that file modes apply."""
    command = [sys.executable, "-c", LISTING, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])


@contextmanager
def closed(*folders: Path) -> Iterator[None]:
    """Make folders unreadable during the block."""
    for folder in folders:
        folder.chmod(0)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.slow
def test_a_folder_that_cannot_be_read_stops_the_listing_and_is_named(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "run/1.mp4", "walk/1.mp4")
    (tmp_path / "own.csv").write_text("path\nrun/1.mp4\n")
    with closed(videos / "walk"):
        done = list_without_privileges(videos)
        assert done.returncode != 0
        assert "walk (Permission denied)" in done.stderr
        done = list_without_privileges(videos, tmp_path / "own.csv")  # says which videos count: none is looked for
        assert done.stdout == "['run/1.mp4']\n", done.stderr


def test_folders_of_the_file_system_are_not_classes(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "run/1.mp4", "lost+found/x.mp4", "$RECYCLE.BIN/y.mp4", ".closed/z.mp4")
    with closed(*(folder for folder in videos.iterdir() if folder.name != "run")):
        done = list_without_privileges(videos)
    assert done.stdout == "['run/1.mp4']\n", done.stderr


def test_a_folder_whose_path_is_too_long_stops_the_listing(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "run/1.mp4")
    here = os.open(videos, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 240, dir_fd=here)
        inner = os.open("x" * 240, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    try:
        with pytest.raises(UserError, match="File name too long"):
            list_videos(videos)
    finally:
        shutil.rmtree(videos / ("x" * 240))


def test_a_broken_link_to_a_folder_stops_the_listing_and_one_to_a_video_is_an_input(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "run/1.mp4")
    (videos / "run/2.mp4").symlink_to(tmp_path / "gone.mp4")
    (videos / "README.md").symlink_to(tmp_path / "gone.md")
    (videos / ".lock").symlink_to("nowhere")
    assert [item.id for item in list_videos(videos).items] == ["run/1.mp4", "run/2.mp4"]
    (videos / "walk").symlink_to(tmp_path / "not mounted")
    with pytest.raises(UserError, match="walk .*not mounted"):
        list_videos(videos)


def test_a_broken_link_stops_the_listing_without_annotations(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "run/v_run_g01_c01.mp4")
    (videos / "latest").symlink_to(tmp_path / "gone/away")
    lists = touch(tmp_path / "lists", "classInd.txt")
    for name in ("trainlist01.txt", "testlist01.txt"):
        (lists / name).write_text(f"run/v_run_g0{1 + name.startswith('test')}_c01.mp4 1\n")
    inputs = list_videos(videos, lists)
    assert "run/v_run_g01_c01.mp4" in [item.id for item in inputs.items]
    assert any("latest" in note and "gone/away" in note for note in inputs.notes)
    for labels in ("none", None):
        with pytest.raises(UserError, match="latest"):
            list_videos(videos, labels)


def test_a_link_whose_target_is_named_like_a_file_is_not_a_folder(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "run/1.mp4")
    (videos / "run/up").symlink_to(tmp_path / "gone/nothing.txt")
    (videos / "again").symlink_to("run/up")
    assert [item.id for item in list_videos(videos).items] == ["run/1.mp4"]


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    videos = touch(tmp_path, "run/1.mp4")
    (videos / "walk").symlink_to("walk")
    with pytest.raises(UserError, match="walk"):
        list_videos(videos)


@pytest.mark.parametrize("first", ["aa", "zz"])
def test_the_name_without_links_is_the_primary_one(tmp_path: Path, first: str) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / first).symlink_to("walk")
    touch(videos, "walk/1.mp4", "run/2.mp4")
    (videos / "run/more").symlink_to("../walk")
    (videos / "run/again").symlink_to("..")
    inputs = list_videos(videos)
    assert [item.id for item in inputs.items] == ["run/2.mp4", "walk/1.mp4"]
    assert len(inputs.notes) == 2
    assert all("walk" in note for note in inputs.notes)


def test_of_several_links_the_first_in_sorted_order_is_the_primary_name(tmp_path: Path) -> None:
    touch(tmp_path / "pool", "x/1.mp4", "x/deep/2.mp4")
    listed = []
    for order in ((1, 2), (2, 1)):
        videos = tmp_path / f"videos{order[0]}"
        (videos / "walk").mkdir(parents=True)
        for n in order:
            (videos / f"walk/{n}").symlink_to(tmp_path / "pool/x")
        (videos / "walk/3").symlink_to(tmp_path / "pool/x/deep")
        inputs = list_videos(videos)
        assert len(inputs.notes) == 2
        listed.append([item.id for item in inputs.items])
    assert listed == [["walk/1/1.mp4", "walk/1/deep/2.mp4"]] * 2


def test_links_that_give_one_folder_two_classes_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "pool", "x/1.mp4")
    videos = tmp_path / "videos"
    videos.mkdir()
    for label in ("walk", "run"):
        (videos / label).symlink_to(tmp_path / "pool/x")
    with pytest.raises(UserError, match="run and walk"):
        list_videos(videos)
    (tmp_path / "own.csv").write_text("path\nwalk/1.mp4\n")
    assert [item.label for item in list_videos(videos, tmp_path / "own.csv").items] == ["walk"]


def test_cycles_of_links_end(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "a/1.mp4", "b/2.mp4")
    (videos / "a/b").symlink_to("../b")
    (videos / "b/a").symlink_to("../a")
    assert [item.id for item in list_videos(videos).items] == ["a/1.mp4", "b/2.mp4"]
