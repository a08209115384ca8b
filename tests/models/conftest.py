"""No test of the models runs into what corrupts memory on some CPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.short_clips import ShortClipGuard


@pytest.fixture(autouse=True)
def short_clip_guard() -> Iterator[ShortClipGuard]:
    """On in every test here."""
    with ShortClipGuard() as guard:
        yield guard
