"""What is wrong with an index, and with what is searched for, is said in a line that tells what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.search.made import describe, index_here, untrained
from tests.videos import moving, write_video
from vicc_ray.errors import UserError
from vicc_ray.models.weights_io import write_weights
from vicc_ray.search.index_format import ENCODER_FILE, FORMAT, INDEX_FILE, VIDEOS_FILE, write_videos
from vicc_ray.search.query import resolve_query
from vicc_ray.search.ranking import query_of_row, search
from vicc_ray.search.reader import SearchIndex, missing_files
from vicc_ray.search.video_folder import VideoFolder


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
    with pytest.raises(UserError, match=f"an index of another format than '{FORMAT}'"):
        SearchIndex(copied)
    (copied / INDEX_FILE).write_text(json.dumps({**content, "spec": {}}))
    with pytest.raises(UserError, match=r"index.json is damaged \(6 fields"):
        SearchIndex(copied)


def test_an_unfinished_or_empty_index_is_told(tmp_path: Path, copied: Path) -> None:
    (copied / VIDEOS_FILE).write_bytes((copied / VIDEOS_FILE).read_bytes()[:700])
    with pytest.raises(UserError, match=r"videos.arrow is damaged .*`vicc-ray index`"):
        SearchIndex(copied)
    (copied / VIDEOS_FILE).unlink()
    with pytest.raises(UserError, match="is not finished .*`vicc-ray index`"):
        SearchIndex(copied)
    describe(tmp_path / "empty", untrained(), tmp_path, 8)
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
        resolve_query(SearchIndex(copied), str(videos / "a/left.mp4"))
    (copied / ENCODER_FILE).write_bytes(b"")
    with pytest.raises(UserError, match=r"encoder.safetensors: not a safetensors file"):
        resolve_query(SearchIndex(copied), str(videos / "a/left.mp4"))


def test_queries_that_cannot_be_asked(index_folder: Path, tmp_path: Path) -> None:
    index = SearchIndex(index_folder)
    with pytest.raises(UserError, match=r"LEFT.mp4: no such file, and no video of .* ids look like a/left.mp4$"):
        resolve_query(index, "elsewhere/LEFT.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text.mp4 .*not a video"):
        resolve_query(index, str(tmp_path / "text.mp4"))
    with pytest.raises(UserError, match="not a regular file"):
        resolve_query(index, str(tmp_path))


def test_an_id_is_a_query_and_is_not_found_itself(index_folder: Path) -> None:
    index = SearchIndex(index_folder)
    asked = resolve_query(index, "b/up.mp4")
    assert (asked.name, asked.label, asked.seconds) == ("b/up.mp4", "b", 1.0)
    assert {index.video(hit.row).id for hit in search(index, asked.query, 9)} == {
        index.video(row).id for row in range(5)
    } - {"b/up.mp4"}


def test_videos_that_moved_are_counted_and_found_where_they_are_now(tmp_path: Path) -> None:
    videos = tmp_path / "old"
    for name in ("a/1.mp4", "2.mp4", "3.mp4"):
        write_video(videos / name, moving(8, 32, 48, (1, 1), 0))
    folder = index_here(videos, tmp_path / "index")
    assert missing_files(SearchIndex(folder), range(3)) == ""
    videos.rename(tmp_path / "new")
    index = SearchIndex(folder)
    line = missing_files(index, [0, 1])
    assert re.match(rf"2 .*{videos}.*--videos FOLDER", line)
    assert len(search(index, query_of_row(index, 0), 9)) == 2
    moved = SearchIndex(folder, VideoFolder(tmp_path / "new"))
    assert missing_files(moved, range(3)) == ""
    with moved.open_video(moved.row_of("a/1.mp4") or 0) as file:
        assert file.read() == (tmp_path / "new/a/1.mp4").read_bytes()


def test_a_query_is_a_file_by_whatever_name_and_an_id_in_either_form_of_an_accent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "a?b#c%41"
    write_video(videos / "Cafe\u0301/1.mp4", moving(8, 32, 48, (1, 1), 0))
    index = SearchIndex(index_here(videos, tmp_path / "index"))
    assert resolve_query(index, "Caf\u00e9/1.mp4").label == "Caf\u00e9"
    write_video(tmp_path / "a:b.mp4", moving(8, 32, 48, (1, 1), 0))
    monkeypatch.chdir(tmp_path)
    assert resolve_query(index, "a:b.mp4").seconds > 0
    assert resolve_query(index, f"file://{tmp_path}/a%3Ab.mp4").seconds > 0
