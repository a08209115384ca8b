"""Errors of the index reader and of queries: each names the cause and the remedy."""

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
    """Copy of the index that a test may damage."""
    return Path(shutil.copytree(index_folder, tmp_path / "index"))


def test_a_path_that_is_not_an_index_is_rejected_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("nowhere", "not exist"), (".", "no index.json"), ("file", "a file")):
        with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path / name))} .*{reason}.*`vicc-ray index`"):
            SearchIndex(tmp_path / name)


def test_another_format_and_a_damaged_description_are_rejected(copied: Path) -> None:
    content = json.loads((copied / INDEX_FILE).read_text())
    (copied / INDEX_FILE).write_text(json.dumps({**content, "format": "vicc_ray index 0", "x": 1}))
    with pytest.raises(UserError, match=rf"{re.escape(str(copied))}.*{FORMAT}"):
        SearchIndex(copied)
    (copied / INDEX_FILE).write_text(json.dumps({**content, "spec": {}}))
    with pytest.raises(UserError, match=r"index.json is damaged \(7 "):
        SearchIndex(copied)


def test_an_unfinished_or_empty_index_is_rejected(tmp_path: Path, copied: Path) -> None:
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
def test_the_error_for_a_damaged_part_names_it_and_the_remedy(copied: Path, damage: str) -> None:
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


def test_another_network_in_the_index_is_rejected(copied: Path, videos: Path) -> None:
    write_weights(copied / ENCODER_FILE, untrained(seed=1))
    with pytest.raises(UserError, match=f"{untrained(seed=1).fingerprint}.*{untrained().fingerprint}"):
        resolve_query(SearchIndex(copied), str(videos / "a/left.mp4"))
    (copied / ENCODER_FILE).write_bytes(b"")
    with pytest.raises(UserError, match=r"encoder.safetensors: not a safetensors file"):
        resolve_query(SearchIndex(copied), str(videos / "a/left.mp4"))


def test_invalid_queries_are_rejected_with_the_reason(index_folder: Path, tmp_path: Path) -> None:
    index = SearchIndex(index_folder)
    with pytest.raises(UserError, match=r"LEFT.mp4: no such file, and no video of .* ids look like a/left.mp4$"):
        resolve_query(index, "elsewhere/LEFT.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text.mp4 .*not a video"):
        resolve_query(index, str(tmp_path / "text.mp4"))
    with pytest.raises(UserError, match="not a regular file"):
        resolve_query(index, str(tmp_path))


def test_an_indexed_video_is_not_among_its_own_results(index_folder: Path) -> None:
    index = SearchIndex(index_folder)
    named = resolve_query(index, "b/up.mp4")
    assert (named.name, named.label, named.seconds) == ("b/up.mp4", "b", 1.0)
    assert {index.video(hit.row).id for hit in search(index, named.query, 9)} == {
        index.video(row).id for row in range(5)
    } - {"b/up.mp4"}


def test_moved_videos_are_counted_as_missing_until_their_folder_is_given(tmp_path: Path) -> None:
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


def test_queries_accept_any_file_name_and_both_unicode_forms_of_an_id(
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
