"""The static page: which neighbors it contains, and the command that it shows beyond them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.search.made import made_up
from tests.search.test_ranking import random_windows
from vicc_ray.search.html import static_page, write_page
from vicc_ray.search.html.static_page import static_content
from vicc_ray.search.query import query_from_row
from vicc_ray.search.ranking import query_of_row, search
from vicc_ray.search.reader import SearchIndex


@pytest.mark.slow
def test_it_contains_the_neighbors_of_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SearchIndex(made_up(tmp_path / "index", random_windows(60)))
    hits = search(index, query_of_row(index, 7), 5)
    for largest in (0, 10**7):
        monkeypatch.setattr(static_page, "LARGEST", largest)
        data = static_content(index, query_from_row(index, 7), hits, 5, Path("found.html"))
        near, videos = data["near"], data["videos"]
        assert near["7"] == [(str(h.row), round(h.score, 4), round(h.start, 2), round(h.end, 2)) for h in hits]
        assert {"7", *(str(hit.row) for hit in hits)} <= set(near)
        for key, found in near.items():
            own = search(index, query_of_row(index, int(key)), 5)
            assert [row for row, *_ in found] == [str(hit.row) for hit in own]
        assert {row for found in near.values() for row, *_ in found} | {"7"} == set(videos)
        assert len(near) == (6 if largest == 0 else len(near))
    assert len(near) > 40


@pytest.mark.slow
def test_its_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SearchIndex(made_up(tmp_path / "index", random_windows(150)))
    monkeypatch.setattr(static_page, "LARGEST", 20_000)
    hits = search(index, query_of_row(index, 7), 5)
    write_page(index, query_from_row(index, 7), hits, 5, tmp_path / "it's found.html")
    page = (tmp_path / "it's found.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert 6 < len(data["near"]) < len(data["videos"])
    assert sum(len(json.dumps(video)) for video in data["videos"].values()) < 30_000
    assert re.fullmatch(r"vicc-ray search \S+ QUERY --top-k 5 --html 'it'\"'\"'s found.html'", data["command"])
