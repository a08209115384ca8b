"""Ranking equals a brute-force comparison, and a copy finds its original."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.search.made import made_up
from tests.videos import write_video
from vicc_ray.search import ranking
from vicc_ray.search.query import query_from_file
from vicc_ray.search.ranking import Query, median_score, query_of_row, search, search_all
from vicc_ray.search.reader import SearchIndex
from vicc_ray.video.decode import decode_video


def cosines(query: np.ndarray, video: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Cosine of each window of the query with each window of a video, computed one by one."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    return np.array([[cosine(q - mean, w - mean) for w in video] for q in query])


def brute_force(windows: list[np.ndarray], query: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Score of every video, by definition."""
    return np.array([cosines(query, video, mean).max(1).mean() for video in windows])


def random_windows(count: int, seed: int = 0) -> list[np.ndarray]:
    """Positive features, as those of a network are, of 1 to 4 windows each; exact in float16."""
    rng = np.random.default_rng(seed)
    return [np.float16(rng.gamma(1.0, size=(1 + n % 4, 12))).astype(np.float32) for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 90])
def test_results_are_those_of_brute_force(tmp_path: Path, count: int) -> None:
    windows = random_windows(count)
    index = SearchIndex(made_up(tmp_path / "index", windows))
    query = random_windows(6, seed=1)[3]
    hits = search(index, Query(query), 10)
    expected = brute_force(windows, query, index.mean)
    assert [hit.row for hit in hits] == np.argsort(-expected, kind="stable")[:10].tolist()
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1][:10], atol=2e-4)
    for hit in hits:
        assert hit.start == cosines(query, windows[hit.row], index.mean).max(0).argmax()
        assert hit.end == hit.start + 1


@pytest.mark.parametrize("count", [3, 12, 40])
def test_the_common_part_of_all_features_does_not_count(tmp_path: Path, count: int) -> None:
    """Features of which 99.9 % are the same: the raw cosines of all pairs are above 0.99."""
    windows = [10 + 0.3 * video for video in random_windows(count)]
    raw = [cosines(windows[0], video, np.zeros(12)).max() for video in windows]
    assert min(raw) > 0.99
    index = SearchIndex(made_up(tmp_path / "index", windows))
    scores = [hit.score for hit in search(index, query_of_row(index, 0), count)]
    assert scores[-1] < 0.2
    assert len(scores) == count - 1


def test_half_of_the_videos_score_the_median_or_more(tmp_path: Path) -> None:
    windows = [video[:1] for video in random_windows(41)]  # with one window, a video's mean is all that counts
    index = SearchIndex(made_up(tmp_path / "index", windows))
    for query in (query_of_row(index, 7), Query(random_windows(6, seed=1)[3][:1])):
        scores = [hit.score for hit in search(index, query, 100)]
        assert median_score(index, query) == pytest.approx(np.median(scores), abs=1e-3)


def test_the_best_by_mean_feature_are_ranked_by_their_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CANDIDATES", 20)
    windows = random_windows(300)
    index = SearchIndex(made_up(tmp_path / "index", windows, a_part=64))
    query = random_windows(1, seed=2)[0]
    means = [video.mean(0, keepdims=True) for video in windows]
    first = np.argsort(-brute_force(means, query.mean(0, keepdims=True), index.mean))[:20]
    scores = brute_force([windows[row] for row in first], query, index.mean)
    assert [hit.row for hit in search(index, Query(query), 8)] == first[np.argsort(-scores)][:8].tolist()


@pytest.mark.slow
def test_an_indexed_query_is_excluded_and_batches_give_the_same_results(tmp_path: Path) -> None:
    index = SearchIndex(made_up(tmp_path / "index", random_windows(30)))
    queries = [query_of_row(index, row) for row in range(30)]
    together = search_all(index, queries, 50)
    assert together == [search(index, query, 50) for query in queries]
    for row, hits in enumerate(together):
        assert sorted([*(hit.row for hit in hits), row]) == list(range(30))


def test_an_excerpt_finds_its_video_and_time_span(tmp_path: Path) -> None:
    windows = random_windows(40)
    index = SearchIndex(made_up(tmp_path / "index", windows))
    best = search(index, Query(windows[27][2:3]), 1)[0]
    assert (best.row, best.start, best.end) == (27, 2.0, 3.0)
    assert best.score == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_copy_in_another_codec_and_size_finds_the_original(videos: Path, index_folder: Path, tmp_path: Path) -> None:
    index = SearchIndex(index_folder)
    for row in range(len(index)):
        video = decode_video(videos / index.video(row).id, short_side=40, max_frames=99, timeout_s=60, grid=2)
        copy = write_video(tmp_path / f"{row}.avi", video.frames, codec="mpeg4")
        with av.open(str(copy)) as opened:
            assert opened.streams.video[0].codec_context.name == "mpeg4"
        hits = search(index, query_from_file(index, copy).query, 3)
        assert hits[0].row == row
        assert hits[0].score > hits[1].score


def test_the_number_of_query_windows_can_be_set(videos: Path, index_folder: Path) -> None:
    index, file = SearchIndex(index_folder), videos / "a/left.mp4"
    row = index.row_of("a/left.mp4")
    assert row is not None
    of_the_index = len(query_of_row(index, row).windows)
    assert of_the_index > 1
    assert len(query_from_file(index, file, windows=1).query.windows) == 1
    assert len(query_from_file(index, file, windows=99).query.windows) == of_the_index
