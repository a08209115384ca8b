"""Reloading: a running server finds new videos, and open pages keep working."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from tests.search.made import describe, made_up, untrained
from tests.search.serving import served
from vicc_ray.errors import UserError
from vicc_ray.search.index_format import VIDEOS_FILE, write_videos
from vicc_ray.search.ranking import query_of_row, search
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.reload import ReloadingIndex
from vicc_ray.search.video_folder import VideoFolder

FEATURES = untrained().features


def windows(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).standard_normal((count, 2, FEATURES)).astype(np.float32))


def test_only_a_changed_index_is_reopened_and_the_old_reader_stays_usable(tmp_path: Path) -> None:
    folder = made_up(tmp_path / "index", windows(14))
    first = SearchIndex(folder, VideoFolder(tmp_path))
    current = ReloadingIndex(first)
    assert current.get() is first
    write_videos(folder, 2, FEATURES, {0: {"3.mp4"}})
    second = current.get()
    assert current.get() is second
    assert (len(first), len(second), second.videos) == (14, 13, first.videos)
    assert (first.video(3).id, second.video(3).id) == ("3.mp4", "4.mp4")
    for index in (first, second):
        assert len(search(index, query_of_row(index, 3), 20)) == len(index) - 1


def test_a_running_server_finds_new_videos(tmp_path: Path) -> None:
    folder = made_up(tmp_path / "index", windows(5))
    with served(folder) as server:
        assert len(server.request("/api/videos").json["videos"]) == 5
        made_up(folder, windows(9))
        assert len(server.request("/api/videos").json["videos"]) == 9
        assert b"9 videos" in server.request("/").body
        like = server.request("/api/neighbors/8").json
        assert like["query"]["id"] == "8.mp4"
        assert server.request("/thumbnail/8").body == b"thumbnail 8"


@pytest.mark.slow
def test_requests_with_an_id_get_that_video_after_rows_have_moved(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    (folder / "videos").mkdir(parents=True)
    (folder / "videos/5.mp4").write_bytes(b"five")
    made_up(folder, windows(9))
    with served(folder) as server:
        shown = server.request("/api/videos").json["videos"]
        write_videos(folder, 2, FEATURES, {0: {"3.mp4"}})
        assert server.request("/thumbnail/5").body == b"thumbnail 6"
        assert server.request("/" + shown[5]["thumbnail"]).body == b"thumbnail 5"
        assert server.request("/" + shown[8]["thumbnail"]).body == b"thumbnail 8"  # its row is beyond the end now
        like = server.request(f"/api/neighbors/5?id={quote(shown[5]['id'])}").json
        assert (like["query"]["id"], like["query"]["row"]) == ("5.mp4", 4)
        assert server.request("/video/5?id=5.mp4").body == b"five"
        for path in (shown[3]["thumbnail"], "api/neighbors/3?id=3.mp4", "video/3?id=3.mp4", "video/3?id=../index.json"):
            assert server.request("/" + path).status == 404


@pytest.mark.slow
def test_an_index_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = made_up(tmp_path / "index", windows(5))
    current = ReloadingIndex(SearchIndex(folder))
    with served(folder) as server:
        describe(folder, untrained(seed=1), folder / "videos", FEATURES)
        write_videos(folder, 1, FEATURES)
        answer = server.request("/api/videos")
        assert answer.status == 500
        assert "restart `vicc-ray serve`" in answer.json["error"]
    (folder / VIDEOS_FILE).unlink()
    with pytest.raises(UserError, match="is not finished"):
        current.get()
