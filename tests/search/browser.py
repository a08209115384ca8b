"""Real headless Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_browser() -> str:
    """Path of a browser; without one the test is skipped, or fails if VICC_BROWSER is "required"."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        message = f"no browser found; install one of {', '.join(BROWSERS)}"
        if os.environ.get("VICC_BROWSER") == "required":
            pytest.fail(f"VICC_BROWSER is required, and {message}")
        pytest.skip(message)
    return found


@dataclass
class Tab:
    """A page, its requests, and its errors."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """Texts of all matching elements."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]


@contextmanager
def browser() -> Iterator[Tab]:
    """A fresh tab."""
    path = find_browser()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        try:
            page = running.new_page(viewport={"width": 1100, "height": 900})
            page.set_default_timeout(20_000)
            tab = Tab(page)
            page.on("request", lambda request: tab.requests.append(request.url))
            page.on("console", lambda line: tab.problems.append(line.text) if line.type == "error" else None)
            page.on("pageerror", lambda error: tab.problems.append(str(error)))
            page.on("dialog", lambda dialog: (tab.problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
            yield tab
        finally:
            running.close()
