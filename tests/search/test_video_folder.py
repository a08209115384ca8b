"""An index of someone else gives access to no file of the account that serves it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.search.made import describe, index_here, untrained
from tests.search.serving import served
from tests.videos import moving, write_video
from vicc_ray.cli.search import _open
from vicc_ray.clip_store.schema import shard_path
from vicc_ray.clip_store.writer import open_shard_writer
from vicc_ray.datasets.locations import size_and_mtime
from vicc_ray.errors import UserError
from vicc_ray.search.features import VideoFeatures
from vicc_ray.search.index_format import INDEX_FILE, Description, part_row, write_videos
from vicc_ray.search.index_schema import PART_SCHEMA
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.video_folder import IndexedFile, NoVideoError, VideoFolder
from vicc_ray.utils.account_key import is_sealed_here, key_file, seal_content

FEATURES = untrained().features


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Folder with one video, other files in it, and files outside it."""
    folder = tmp_path / "videos"
    (folder / "a").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a/clip.mp4", "a/.clip.mp4", ".hidden/clip.mp4"):
        (folder / name).write_bytes(b"clip")
    (folder / "notes.txt").write_text("text")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return folder


def file_at(path: Path, name: str) -> IndexedFile:
    """The file as if indexed under that name."""
    size, mtime_ns = size_and_mtime(path) or (0, 0)
    return IndexedFile(os.fsencode(name), size, mtime_ns)


def test_only_unchanged_videos_are_opened(videos: Path) -> None:
    folder, clip = VideoFolder(videos), videos / "a/clip.mp4"
    indexed = file_at(clip, "a/clip.mp4")
    with folder.open(indexed) as file:
        assert file.read() == b"clip"
    assert folder.has(indexed)
    about = clip.stat()
    os.utime(clip, ns=(about.st_atime_ns, about.st_mtime_ns // 10**9 * 10**9))  # the resolution of some file systems
    assert folder.has(indexed)
    os.utime(clip, ns=(about.st_atime_ns, about.st_mtime_ns + 2 * 10**9))
    assert not folder.has(indexed)
    assert folder.has(IndexedFile(indexed.name, indexed.size, None))
    clip.write_bytes(b"other clip")
    os.utime(clip, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(NoVideoError, match="changed since it was indexed"):
        folder.open(indexed)
    assert not VideoFolder().has(file_at(clip, "a/clip.mp4"))


@pytest.mark.parametrize(
    ("name", "target"),
    [("notes.txt", "videos/notes.txt"), ("../secret.mp4", "secret.mp4"), ("a/../../secret.mp4", "secret.mp4"),
     ("{root}/secret.mp4", "secret.mp4"), ("", "videos"), ("a", "videos/a"), ("a/clip.mp4\0.mp4", "videos/a/clip.mp4"),
     ("x" * 5000 + ".mp4", "secret.mp4"), ("gone.mp4", "secret.mp4"),
     (".hidden/clip.mp4", "videos/.hidden/clip.mp4"), ("a/.clip.mp4", "videos/a/.clip.mp4")],
)  # fmt: skip
def test_invalid_names_are_refused(videos: Path, name: str, target: str, tmp_path: Path) -> None:
    indexed = file_at(tmp_path / target, name.replace("{root}", str(tmp_path)))
    with pytest.raises(NoVideoError):
        VideoFolder(videos).open(indexed)


def test_links_are_followed_within_the_given_folders(videos: Path, tmp_path: Path) -> None:
    outside = tmp_path / "disk"
    outside.mkdir()
    (outside / "other.mp4").write_bytes(b"other")
    (videos / "disk").symlink_to(outside)
    (videos / "same.mp4").symlink_to(videos / "a/clip.mp4")
    (videos / "text.mp4").symlink_to(videos / "notes.txt")
    (videos / "secret.mp4").symlink_to(tmp_path / "secret.mp4")
    (videos / "loop.mp4").symlink_to(videos / "loop.mp4")
    assert VideoFolder(videos).has(file_at(videos / "a/clip.mp4", "same.mp4"))
    for name in ("text.mp4", "secret.mp4", "loop.mp4", "disk/other.mp4"):
        assert not VideoFolder(videos, tmp_path / "empty").has(file_at(videos / "notes.txt", name))
    other = file_at(outside / "other.mp4", "disk/other.mp4")
    with pytest.raises(NoVideoError, match="--videos"):
        VideoFolder(videos).open(other)
    assert VideoFolder(videos, outside).has(other)
    assert VideoFolder(tmp_path / "videos/../videos").has(file_at(videos / "a/clip.mp4", "a/clip.mp4"))


def test_special_files_are_neither_opened_nor_awaited(videos: Path) -> None:
    os.mkfifo(videos / "pipe.mp4")
    (videos / "zero.mp4").symlink_to("/dev/zero")
    (videos / "folder.mp4").mkdir()
    for name in ("pipe.mp4", "zero.mp4", "folder.mp4"):
        assert not VideoFolder(videos, Path("/dev")).has(file_at(videos / name, name))


def index_of_others(folder: Path, base: Path, names: list[str]) -> Path:
    """Index as an attacker may write it: with the size and mtime of our files, which others can see."""
    describe(folder, untrained(), base)
    with open_shard_writer(shard_path(folder, 0), PART_SCHEMA) as writer:
        for name in names:
            found = VideoFeatures(np.ones((1, FEATURES), np.float32), np.float32([[0, 1]]), 1.0, b"")
            file = name.strip("/").encode()
            writer.write(part_row(name, "", "", file, size_and_mtime(base / name) or (0, 0), found))
    write_videos(folder, 1, FEATURES)
    content = json.loads((folder / INDEX_FILE).read_text())
    (folder / INDEX_FILE).write_text(json.dumps({**content, "seal": "0" * 64}))
    return folder


def test_the_folder_named_by_a_foreign_index_is_not_used(videos: Path, tmp_path: Path) -> None:
    folder = index_of_others(tmp_path / "index", videos, ["a/clip.mp4"])
    for seal in ("0" * 64, "", "x"):
        content = json.loads((folder / INDEX_FILE).read_text())
        (folder / INDEX_FILE).write_text(json.dumps({**content, "seal": seal}))
        index = SearchIndex(folder)
        assert (index.unconfirmed_videos, index.has_video(0)) == (str(videos), False)
    with served(folder) as server:
        assert server.request("/video/0").status == 404
        assert server.request("/api/videos").json["videos"][0]["play"] is False
    confirmed = SearchIndex(folder, VideoFolder(videos))
    assert (confirmed.unconfirmed_videos, confirmed.has_video(0)) == ("", True)


def test_the_seal_covers_the_video_folder_and_survives_a_move_of_the_index(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index_of_others(folder, videos, ["a/clip.mp4"])
    describe(folder, untrained(), videos)
    moved = folder.rename(tmp_path / "elsewhere")
    assert SearchIndex(moved).has_video(0)
    content = json.loads((moved / INDEX_FILE).read_text())
    (moved / INDEX_FILE).write_text(json.dumps({**content, "videos": str(tmp_path)}))
    assert SearchIndex(moved).unconfirmed_videos == str(tmp_path)
    (moved / INDEX_FILE).write_text(json.dumps(content))
    videos.rename(tmp_path / "real")
    videos.symlink_to(tmp_path / "real")
    assert not SearchIndex(moved).has_video(0)  # the indexed folder is now a link


def test_the_key_is_private_to_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert not is_sealed_here(b"a", "")
    seal = seal_content(b"a")
    assert is_sealed_here(b"a", seal) and not is_sealed_here(b"b", seal)
    assert seal_content(b"a") == seal
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert {path.name for path in key_file().parent.iterdir()} == {key_file().name, ".key.lock"}
    key_file().chmod(0o644)
    assert not is_sealed_here(b"a", seal)  # others may have read it
    assert seal_content(b"a") != seal
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600


def test_concurrent_processes_create_one_key(tmp_path: Path) -> None:
    code = "from vicc_ray.utils.account_key import make_seal; print(make_seal(b'a'))"
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) for _ in range(6)]
    assert len({run.communicate()[0] for run in runs}) == 1


def test_without_a_key_an_index_works_with_an_explicit_video_folder(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    folder = index_of_others(tmp_path / "index", videos, ["a/clip.mp4"])
    describe(folder, untrained(), videos)
    assert Description.read(folder).seal == ""
    assert SearchIndex(folder).unconfirmed_videos == str(videos)
    assert SearchIndex(folder, VideoFolder(videos)).has_video(0)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vicc_ray", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.slow
def test_serve_requires_the_video_folder_of_a_foreign_index(videos: Path, tmp_path: Path) -> None:
    """An attack: the base is ``/``, and the names are those of its files."""
    folder = index_of_others(tmp_path / "index", Path("/"), ["etc/passwd"])
    command = run("serve", folder, "--port", "0")
    assert command.returncode == 2
    assert "--videos" in command.stderr and "'/'" in command.stderr and "Traceback" not in command.stderr
    assert not SearchIndex(folder, VideoFolder(Path("/"))).has_video(0)


def test_video_folders_can_be_given_repeatedly_or_as_none(videos: Path, tmp_path: Path) -> None:
    folder = index_of_others(tmp_path / "index", videos, ["a/clip.mp4"])

    def opened(*given: Path) -> SearchIndex:
        return _open(argparse.Namespace(index=folder, videos=list(given) or None))

    assert opened().unconfirmed_videos
    for given, folders in (([Path("none")], ()), ([videos], (videos,)), ([videos, tmp_path], (videos, tmp_path))):
        index = opened(*given)
        assert (index.unconfirmed_videos, index.videos.folders, index.has_video(0)) == ("", folders, bool(folders))
    with pytest.raises(UserError, match="--videos"):
        opened(videos, tmp_path / "nowhere")


@pytest.mark.slow
def test_a_foreign_index_can_be_searched(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("1.mp4", "2.mp4"):
        write_video(own / name, moving(8, 32, 48, (1, 1), 0))
    folder = index_here(own, tmp_path / "index")
    content = json.loads((folder / INDEX_FILE).read_text())
    (folder / INDEX_FILE).write_text(json.dumps({**content, "videos": "/nowhere"}))
    command = run("search", folder, own / "1.mp4", "--html", tmp_path / "found.html")
    assert (command.returncode, "1.mp4" in command.stdout) == (0, True)


def test_a_file_swapped_after_the_check_is_not_served(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index_of_others(folder, videos, ["a/clip.mp4"])
    describe(folder, untrained(), videos)
    clip = videos / "a/clip.mp4"
    with served(folder) as server:
        whole = server.request("/video/0")
        assert (whole.status, whole.body, whole.headers["content-type"]) == (200, b"clip", "video/mp4")
        part = server.request("/video/0", Range="bytes=1-2")
        assert (part.status, part.body) == (206, b"li")
        opened = SearchIndex(folder).open_video(0)
        clip.unlink()
        clip.symlink_to(tmp_path / "secret.txt")
        assert opened.read() == b"clip"
        opened.close()
        answer = server.request("/video/0")
        assert (answer.status, "secret" in answer.body.decode()) == (404, False)
        clip.unlink()
        shutil.copy(tmp_path / "secret.txt", clip)
        assert server.request("/video/0").status == 404
