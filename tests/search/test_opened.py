"""What is wrong with an index, and with what is searched for, is said in a line that tells what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.search.made import describe, index_here, made_up, untrained
from tests.videos import moving, write_video
from vicc_ray.errors import UserError
from vicc_ray.models.weights_file import write_weights
from vicc_ray.search.index_folder import ENCODER_FILE, INDEX_FILE, VIDEOS_FILE, write_videos
from vicc_ray.search.missing import missing_files
from vicc_ray.search.opened import SearchIndex
from vicc_ray.search.query import ask
from vicc_ray.search.ranking import query_of_row, search


@pytest.fixture
def copied(index_folder: Path, tmp_path: Path) -> Path:
    """An index that may be damaged."""
    return Path(shutil.copytree(index_folder, tmp_path / "index"))


def test_an_index_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given, what in (("nowhere", "nothing there"), (".", "no index.json"), ("file", "a file")):
        with pytest.raises(UserError, match=rf"is no index \({what}\); make one with `vicc-ray index`"):
            SearchIndex(tmp_path / given)


def test_an_index_of_another_format_or_damaged_is_told(copied: Path) -> None:
    content = json.loads((copied / INDEX_FILE).read_text())
    (copied / INDEX_FILE).write_text(json.dumps({**content, "format": "vicc_ray index 0", "x": 1}))
    with pytest.raises(UserError, match="an index of another format than 'vicc_ray index 1'"):
        SearchIndex(copied)
    (copied / INDEX_FILE).write_text(json.dumps({**content, "view": {}}))
    with pytest.raises(UserError, match=r"index.json is damaged \(6 fields"):
        SearchIndex(copied)


def test_an_unfinished_or_empty_index_is_told(tmp_path: Path, copied: Path) -> None:
    (copied / VIDEOS_FILE).write_bytes((copied / VIDEOS_FILE).read_bytes()[:700])
    with pytest.raises(UserError, match=r"videos.arrow is damaged .*it is made anew"):
        SearchIndex(copied)
    (copied / VIDEOS_FILE).unlink()
    with pytest.raises(UserError, match="is not finished .*give the same `vicc-ray index` again"):
        SearchIndex(copied)
    describe(tmp_path / "empty", untrained(), tmp_path)
    write_videos(tmp_path / "empty", 0, 8)
    with pytest.raises(UserError, match="is empty: none of its videos could be used"):
        SearchIndex(tmp_path / "empty")


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_part_is_named_with_what_to_do(copied: Path, damage: str) -> None:
    part = copied / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    if damage == "flipped":
        for place in range(1000, len(content) // 2, 501):
            content[place] ^= 255
    part.write_bytes(content[:3000] if damage == "cut" else content)
    if damage == "gone":
        part.unlink()
    index = SearchIndex(copied)
    with pytest.raises(UserError, match=r"part-00000.parquet is damaged .*remove that file .*same `vicc-ray index`"):
        search(index, query_of_row(index, 4), 3)


def test_another_network_in_the_index_is_told(copied: Path, videos: Path) -> None:
    write_weights(copied / ENCODER_FILE, untrained(seed=1))
    with pytest.raises(UserError, match="the features of this index were made by"):
        ask(SearchIndex(copied), str(videos / "a/left.mp4"))
    (copied / ENCODER_FILE).write_bytes(b"")
    with pytest.raises(UserError, match=r"encoder.safetensors: not a safetensors file"):
        ask(SearchIndex(copied), str(videos / "a/left.mp4"))


def test_queries_that_cannot_be_asked(index_folder: Path, tmp_path: Path) -> None:
    index = SearchIndex(index_folder)
    with pytest.raises(UserError, match=r"LEFT.mp4: no such file, and no video of .* ids look like a/left.mp4$"):
        ask(index, "elsewhere/LEFT.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text.mp4 cannot be searched with: not a video"):
        ask(index, str(tmp_path / "text.mp4"))
    with pytest.raises(UserError, match="cannot be searched with: not a regular file"):
        ask(index, str(tmp_path))


def test_an_id_is_a_query_and_is_not_found_itself(index_folder: Path) -> None:
    index = SearchIndex(index_folder)
    asked = ask(index, "b/up.mp4")
    assert (asked.name, asked.label, asked.seconds) == ("b/up.mp4", "b", 1.0)
    assert {index.video(hit.row).id for hit in search(index, asked.query, 9)} == {
        index.video(row).id for row in range(5)
    } - {"b/up.mp4"}


def test_videos_that_moved_are_counted_and_found_where_they_are_now(copied: Path, videos: Path, tmp_path: Path) -> None:
    assert missing_files(SearchIndex(copied), range(5)) == ""
    content = json.loads((copied / INDEX_FILE).read_text())
    (copied / INDEX_FILE).write_text(json.dumps({**content, "videos": str(tmp_path / "old")}))
    index = SearchIndex(copied)
    line = missing_files(index, [0, 1, 2])
    assert re.match(rf"3 of these 3 videos are not in {tmp_path / 'old'} any more; .*--videos FOLDER", line)
    assert len(search(index, query_of_row(index, 0), 9)) == 4
    moved = SearchIndex(copied, videos)
    assert missing_files(moved, range(5)) == ""
    assert moved.file(moved.row_of("b/up.mp4") or 0) == videos / "b/up.mp4"


def test_no_file_outside_the_folder_is_a_video(tmp_path: Path) -> None:
    from vicc_ray.search.features import VideoFeatures
    from vicc_ray.search.index_folder import PART_SCHEMA, part_row
    from vicc_ray.video.store import shard_path, shard_writer

    (tmp_path / "secret.mp4").touch()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/own.mp4").touch()
    folder = made_up(tmp_path / "index", [np.ones((1, 4), np.float32)])
    names = ["own.mp4", "../secret.mp4", str(tmp_path / "secret.mp4"), "x/../../secret.mp4"]
    with shard_writer(shard_path(folder, 0), PART_SCHEMA) as writer:
        for name in names:
            found = VideoFeatures(np.ones((1, 4), np.float32), np.zeros((1, 2), np.float32), 1.0, b"")
            writer.write(part_row(name, "", "", name.encode(), found))
    write_videos(folder, 1, 4)
    index = SearchIndex(folder, tmp_path / "videos")
    assert [index.file(row) is not None for row in range(4)] == [True, False, False, False]


def test_a_query_is_a_file_by_whatever_name_and_an_id_in_either_form_of_an_accent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "a?b#c%41"
    write_video(videos / "Cafe\u0301/1.mp4", moving(8, 32, 48, (1, 1), 0))
    index = SearchIndex(index_here(videos, tmp_path / "index"))
    assert ask(index, "Caf\u00e9/1.mp4").label == "Caf\u00e9"
    write_video(tmp_path / "a:b.mp4", moving(8, 32, 48, (1, 1), 0))
    monkeypatch.chdir(tmp_path)
    assert ask(index, "a:b.mp4").seconds > 0
    assert ask(index, f"file://{tmp_path}/a%3Ab.mp4").seconds > 0
