"""The page of a run in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.injected import check_inert
from tests.search.browser import Tab
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.reports.run import build_report


@pytest.mark.slow
def test_the_content_security_policy_allows_the_page_and_blocks_injected_html(
    run_dir: Path, store: ClipStore, tab: Tab
) -> None:
    page = build_report(run_dir, store)
    check_inert(tab, page)
    tab.page.goto(page.as_uri())
    films = tab.page.locator(".film:not(.empty)")
    assert films.count() > 5
    assert "data:image" in films.first.evaluate("film => getComputedStyle(film).backgroundImage")
    assert films.first.evaluate("film => getComputedStyle(film).animationPlayState") == "running"
    tab.page.check("#pause")
    assert films.first.evaluate("film => getComputedStyle(film).animationPlayState") == "paused"
    bars = tab.page.locator(".recall .bar i").evaluate_all("bars => bars.map(bar => bar.clientWidth)")
    assert len(set(bars)) > 1, "styles of single elements count"
    assert tab.problems == []
